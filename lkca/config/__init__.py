"""The configuration: the schema of config.yaml, its reading and checking, and the jobs that follow from it."""
