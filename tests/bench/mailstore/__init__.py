"""Benchmarks of the mailstore."""
