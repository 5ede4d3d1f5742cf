"""Objects of the lower layers, made from the configuration."""
