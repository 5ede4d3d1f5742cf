"""Figures of the mailstore."""
