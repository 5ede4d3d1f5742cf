"""The SMTP server: listener, session, states, commands, transaction."""
