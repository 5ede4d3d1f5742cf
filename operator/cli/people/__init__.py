"""Commands on people: tenants, accounts, groups, credentials."""
