"""Commands of users that need several packages: files of a scene, costs of networks, arrays."""
