"""Mail sent by mailboxes of ours."""
