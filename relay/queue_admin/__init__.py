"""Administration of the queue: listings, and actions by hand."""
