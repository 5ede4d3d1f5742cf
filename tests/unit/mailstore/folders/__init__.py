"""Folders of a mailbox, and the state of messages in them."""
