"""Jobs on mailboxes: erasure, late mail, mailboxes without use, notices to holders."""
