"""SMTP client: routes, TLS connections, pool, transactions."""
