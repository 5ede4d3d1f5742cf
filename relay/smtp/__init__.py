"""The language of SMTP: addresses, parameters, replies, framing, envelope.  No I/O."""
