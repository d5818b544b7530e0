"""What is chosen: the schema of config.yaml, reading and checking it, and the jobs that follow from it."""
