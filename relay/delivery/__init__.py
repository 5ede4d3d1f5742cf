"""Delivery in the courier: selection, concurrency limits, attempts, results."""
