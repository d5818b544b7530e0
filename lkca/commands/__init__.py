"""Commands that combine several packages: files of a scene, costs of networks, arrays."""
