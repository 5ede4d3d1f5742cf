"""Periodic jobs of the maintenance process."""
