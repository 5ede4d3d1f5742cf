"""Programs of others that tests speak with, and servers in their place."""
