"""Rules for the tests and the texts of the project: tiers, guards, references."""
