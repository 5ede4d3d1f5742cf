"""Header fields of a message: their section, text, addresses and parameters. Pure."""
