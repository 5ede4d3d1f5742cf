"""What the other packages stand on: no mail, no list, no SQL, no HTTP."""
