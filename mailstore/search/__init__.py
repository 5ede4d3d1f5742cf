"""Search in a mailbox, without an index that tells words."""
