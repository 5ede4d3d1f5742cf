"""Acceptance of a message: recipient lookup, disk guard, group commit before 250."""
