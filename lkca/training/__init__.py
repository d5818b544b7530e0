"""Training of one network: losses, loop, checkpoints and exact resume."""
