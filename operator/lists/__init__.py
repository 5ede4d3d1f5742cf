"""White list and revocation lists: refreshed, and shared among machines."""
