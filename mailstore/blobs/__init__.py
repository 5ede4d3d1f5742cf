"""Bodies at rest: in files, bucket or database; references, verification, collection."""
