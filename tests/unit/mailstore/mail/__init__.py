"""Tests of `mailstore.mail`."""
