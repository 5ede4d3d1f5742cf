"""Folders and messages of mailboxes, as people list and change them."""
