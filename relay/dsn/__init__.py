"""Delivery status notifications (RFC 3464): who is told what, and how it reads."""
