"""Machine of the daemon: its name, its clock, its run folder."""
