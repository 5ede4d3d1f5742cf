"""Audit trail: who did what to which mailbox, account or message; in hash chains, with anchors."""
