"""The SMTP client: MX look-ups, TLS connections, pool, one transaction."""
