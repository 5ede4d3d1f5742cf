"""Measurements: `make bench`, `make soak`, profiles."""
