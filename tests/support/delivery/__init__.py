"""The queue, the courier and its reports."""
