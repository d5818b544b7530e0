"""The numbers of one run: scores, speed, singular values."""
