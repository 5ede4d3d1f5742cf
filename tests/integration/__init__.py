"""Tests that start processes of ours or servers, or take long."""
