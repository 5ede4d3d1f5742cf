"""The database: SQLite and PostgreSQL behind one interface."""
