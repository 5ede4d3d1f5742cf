"""Engines of the two databases: connections, commits, locks, checkpoints, errors of drivers."""
