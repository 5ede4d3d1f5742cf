"""A socket to listen on.  The supervisor binds it and does without the rest of the SMTP server."""

import socket
from typing import Final

BACKLOG: Final = 512  # connections that may wait to be accepted


def bind(host: str, port: int) -> socket.socket:
    """A TCP socket bound to an address.  Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound
