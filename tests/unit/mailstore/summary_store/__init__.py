"""Tests of `mailstore.summary_store`."""
