"""Decide which jobs have to run and why, run them, and check that the results are consistent."""
