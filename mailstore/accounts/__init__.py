"""Tenants, accounts of persons and programs, their national identifiers, groups."""
