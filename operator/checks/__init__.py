"""Checks of a site by `mssante config check`, and at start."""
