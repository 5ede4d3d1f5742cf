"""This machine: its name, its clock, its run directory."""
