"""Set-up of a new operator: `mssante init` and `mssante demo`."""
