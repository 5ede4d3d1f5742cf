"""Commands on domains, mailboxes and messages."""
