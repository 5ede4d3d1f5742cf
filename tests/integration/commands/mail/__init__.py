"""Commands on messages and folders of a mailbox."""
