"""Requirements of a PostgreSQL that keeps mail."""
