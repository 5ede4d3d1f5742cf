"""Addresses on loopback for servers that a test starts."""

import random
import socket
from contextlib import suppress

# Below the ports that Linux gives to whoever asks for any: a client of another test would have one
# of those before our daemon binds it.
_PORTS = range(20_000, 32_000)


def free_endpoint() -> str:
    """A loopback address that nobody uses now."""
    for port in random.SystemRandom().sample(_PORTS, 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return f"127.0.0.1:{port}"
    raise OSError(f"no port of {_PORTS.start} to {_PORTS.stop} is free")
