"""Commands of the desk: the queue, the trace of a message, the search for messages."""
