"""Delivery status notifications (RFC 3464): rules, content, composition."""
