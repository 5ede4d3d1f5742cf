"""Summaries on disk, sealed; threads; blocks for searches."""
