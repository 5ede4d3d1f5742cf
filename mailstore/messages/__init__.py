"""Messages in mailboxes: rows, listing, export as mbox."""
