"""Acceptance of a message: recipient look-up, disk guard, group commit before 250."""
