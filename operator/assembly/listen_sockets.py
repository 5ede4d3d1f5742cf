"""Listening sockets of the daemon, owned by the supervisor as long as it runs.

Processes inherit their descriptors.  So a connection in the accept queue survives the death of any
process (docs/decisions/0014).
"""

import errno
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Final

from relay.server.listen_socket import BACKLOG, bind

from ..settings.endpoints import split_endpoint
from ..settings.model import Settings, SettingsError

INBOUND: Final = "inbound.listen"
ADMIN: Final = "admin.listen"

Held = Mapping[tuple[str, str], socket.socket]  # (configuration key, address) to socket


def open_sockets(settings: Settings, held: Held) -> dict[tuple[str, str], socket.socket]:
    """A listening socket for each address of the configuration; sockets in `held` are reused.

    Raises SettingsError; new sockets are then closed again.
    """
    named = [*((INBOUND, one) for one in settings.inbound.listen), (ADMIN, settings.admin.listen)]
    wanted: dict[tuple[str, str], socket.socket] = {}
    with ExitStack() as fresh:
        for key, endpoint in named:
            if (key, endpoint) in wanted:
                raise SettingsError(
                    f"{settings.origin}: {key}: {endpoint} listed twice; remove one entry"
                )
            wanted[key, endpoint] = held.get((key, endpoint)) or fresh.enter_context(
                _listen(settings, key, endpoint)
            )
        fresh.pop_all()
    return wanted


def _listen(settings: Settings, key: str, endpoint: str) -> socket.socket:
    try:
        listening = bind(*split_endpoint(endpoint))
        listening.listen(BACKLOG)  # from here on connections are queued, not refused
    except OSError as error:
        raise SettingsError(
            f"{settings.origin}: {key}: cannot listen on {endpoint}: {error.strerror}; "
            f"{remedy(error)}"
        ) from error
    listening.settimeout(0)
    return listening


def remedy(error: OSError) -> str:
    """Remedy for an address that cannot be bound."""
    if error.errno == errno.EACCES:
        return (
            "ports below 1024 need CAP_NET_BIND_SERVICE; use AmbientCapabilities= in the systemd "
            "unit, or start with: setpriv --inh-caps +net_bind_service "
            "--ambient-caps +net_bind_service --reuid USER --clear-groups mssante serve"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return "address not on this machine; list its addresses with: ip address"
    if isinstance(error, socket.gaierror):
        return "set an address of this machine, or 0.0.0.0 or [::] for all"
    return "stop the program that uses it, or choose another address"


def address(listening: socket.socket) -> str:
    """Address of a socket in the form of the configuration: `HOST:PORT` or `[IPV6]:PORT`."""
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
