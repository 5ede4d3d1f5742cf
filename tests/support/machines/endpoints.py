"""Loopback addresses for servers of tests."""

import random
import socket
from contextlib import suppress

# Below Linux's range of ephemeral ports: a client of another test might take such a port before our
# daemon binds it.
_PORTS = range(20_000, 32_000)


def free_endpoint() -> str:
    """Loopback address that is free now."""
    for port in random.SystemRandom().sample(_PORTS, 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return f"127.0.0.1:{port}"
    raise OSError(f"no port of {_PORTS.start} to {_PORTS.stop} is free")
