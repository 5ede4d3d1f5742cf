"""Actions for the command line, and later the API; each leaves an event."""
