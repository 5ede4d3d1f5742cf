"""Folders of a mailbox, and the state of the messages in them."""
