"""The configuration file: sections, types, bounds, error texts."""
