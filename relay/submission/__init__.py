"""Mail that mailboxes of ours send."""
