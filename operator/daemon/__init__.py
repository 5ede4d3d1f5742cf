"""Processes of the daemon: start, supervision, end."""
