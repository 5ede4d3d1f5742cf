"""Refresh of the white list and of revocation lists: sources, schedule, adoption."""
