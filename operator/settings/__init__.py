"""Configuration file: sections, types, bounds, error texts."""
