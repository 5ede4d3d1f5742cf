"""Reading the audit trail: verification, search, export."""
