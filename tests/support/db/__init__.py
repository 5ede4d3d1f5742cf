"""SQLite and PostgreSQL: templates, standbys, poolers, outages."""
