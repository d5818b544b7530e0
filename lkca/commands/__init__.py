"""Commands that combine the packages: scenes, costs, arrays."""
