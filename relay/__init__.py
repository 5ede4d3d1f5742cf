"""SMTP in and out: session, framing, admission, acceptance, queue, delivery."""
