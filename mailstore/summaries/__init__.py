"""Summaries of messages: envelope, structure, clinical facts; strict limits. Pure."""
