"""What has to run, why, and whether the results belong together."""
