"""The admin HTTP: health and metrics."""
