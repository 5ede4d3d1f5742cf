"""Mailboxes, messages and blobs."""
