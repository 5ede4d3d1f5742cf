"""The SMTP server: listener, session, its states and commands, the message they bring."""
