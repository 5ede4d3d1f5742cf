"""A new operator: `mssante init` and `mssante demo`."""
