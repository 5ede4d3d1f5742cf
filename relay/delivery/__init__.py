"""The delivery process: selection, concurrency limits, attempts, results."""
