"""Operators as installed: daemons, machines, configurations."""
