"""The machine that a daemon runs on: its name, its clock, its run directory."""
