"""Retrieval of lists, by HTTP and from files.  Nothing here is believed."""
