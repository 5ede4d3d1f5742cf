"""Tests within this process alone, in folders like those of the product."""
