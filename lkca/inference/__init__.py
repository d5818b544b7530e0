"""Use trained networks: apply them to cubes, and share their weights."""
