"""News of changes: whoever watches a mailbox learns of each change, from whichever process."""
