"""Bodies, blob stores and an S3 server."""
