"""White lists, certificates and authorities, good and bad."""
