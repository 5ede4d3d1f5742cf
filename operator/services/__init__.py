"""Actions for the command line, and later the API; each records an event."""
