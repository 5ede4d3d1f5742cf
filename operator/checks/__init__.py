"""Checks of an installation, by `mssante config check` and at start."""
