"""Retrieval of lists, by HTTP and from files. The octets are not verified here."""
