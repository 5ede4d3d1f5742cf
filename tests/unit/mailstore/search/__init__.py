"""Tests of `mailstore.search`."""
