"""Mailboxes in bulk: CSV form, plan, writing."""
