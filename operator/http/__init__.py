"""Admin HTTP: health and metrics."""
