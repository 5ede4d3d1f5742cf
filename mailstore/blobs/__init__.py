"""Bodies at rest: in files or in the database, referenced, verified, collected."""
