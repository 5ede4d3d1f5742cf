"""The queue: rows of deliveries and destinations, leases, retries, holds."""
