"""Tests with programs of others: mail servers, scanners, monitoring."""
