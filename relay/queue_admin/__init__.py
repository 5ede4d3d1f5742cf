"""Administration of the queue: listings, and actions of people."""
