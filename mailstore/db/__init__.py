"""The database: SQLite and PostgreSQL behind a common interface."""
