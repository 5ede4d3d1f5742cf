"""Mailboxes, their addresses and identifiers, and their messages."""
