"""Machines that share one database: names, clocks, and the newest white list."""
