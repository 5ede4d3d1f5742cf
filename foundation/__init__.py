"""Base of all other packages: no mail, no list, no SQL, no HTTP."""
