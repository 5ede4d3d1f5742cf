"""Listing and changing folders and messages."""
