"""What the paper prints and claims, and whether it holds."""
