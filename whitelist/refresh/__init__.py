"""White list and revocation lists: refresh, and sharing among machines."""
