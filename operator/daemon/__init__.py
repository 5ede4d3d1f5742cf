"""Processes of the daemon: start, supervision, exit."""
