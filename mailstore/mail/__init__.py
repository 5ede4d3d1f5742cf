"""An opened mailbox: the interface for the doors (IMAP, JMAP, command line)."""
