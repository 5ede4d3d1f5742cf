"""Check of the listening addresses: free, distinct, not public by mistake."""

import errno
import os
from collections import Counter
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import ExitStack

from relay.server.listen_socket import bind

from ..assembly.findings import CheckFinding, CheckVerdict
from ..assembly.listen_sockets import ADMIN, INBOUND, remedy
from ..settings.endpoints import split_endpoint
from ..settings.model import Settings

_ALL_4, _ALL_6 = "0.0.0.0", "::"  # noqa: S104 - compared, not bound


def named(settings: Settings) -> list[tuple[str, str]]:
    """(key, address) of each listening address in the configuration."""
    inbound = [(INBOUND, one) for one in settings.inbound.listen]
    return [*inbound, (ADMIN, settings.admin.listen)]


def check_listening(
    settings: Settings, held: AbstractSet[tuple[str, str]] | None
) -> Iterator[CheckFinding]:
    """Findings about [inbound] listen, [admin] listen and [process] workers.

    `held`: addresses of the daemon that runs on this store, None if no daemon runs.
    """
    wanted = named(settings)
    problems = [*_twice(wanted), *_overlaps(wanted)]
    if not problems:
        problems = list(_unbound(wanted, held or set()))
    for text in problems:
        yield CheckFinding("listen", CheckVerdict.NO, f"{settings.origin}: {text}")
    if not problems:
        addresses = ", ".join(endpoint for _, endpoint in wanted)
        state = "free" if held is None else "free, or in use by the running daemon"
        yield CheckFinding("listen", CheckVerdict.YES, f"{addresses}: {state}")
    for text in (*_public(settings.admin.listen), *_crowd(settings.process.workers)):
        yield CheckFinding("listen", CheckVerdict.DOUBT, f"{settings.origin}: {text}")


def _twice(named: list[tuple[str, str]]) -> Iterator[str]:
    count = Counter(split_endpoint(endpoint) for _, endpoint in named)
    for (host, port), times in count.items():
        if times > 1 and port:
            keys = ", ".join(sorted({k for k, one in named if split_endpoint(one) == (host, port)}))
            yield f"{keys}: {host} port {port} listed twice; remove one entry"


def _overlaps(named: list[tuple[str, str]]) -> Iterator[str]:
    """Problems of a wildcard address beside another address with the same port."""
    split = [(key, endpoint, *split_endpoint(endpoint)) for key, endpoint in named]
    for key, endpoint, host, port in split:
        if host not in {_ALL_4, _ALL_6} or not port:
            continue
        for _, other, other_host, other_port in split:
            covered = other_port == port and other_host != host
            if covered and (host == _ALL_6 or ":" not in other_host):
                if (host, other_host) == (_ALL_4, _ALL_6):
                    continue  # reported for the address `::`
                yield f"{key}: {endpoint} already includes {other}; remove one entry"


def _unbound(wanted: list[tuple[str, str]], held: AbstractSet[tuple[str, str]]) -> Iterator[str]:
    """Problems when all addresses are bound together, for a moment only."""
    taken: dict[tuple[str, int], str] = {}
    with ExitStack() as bound:
        for key, endpoint in wanted:
            try:
                one = bound.enter_context(bind(*split_endpoint(endpoint)))
            except OSError as error:
                if (key, endpoint) not in held or error.errno != errno.EADDRINUSE:
                    why = f"{error.strerror}; {remedy(error)}"
                    yield f"{key}: cannot listen on {endpoint}: {why}"
                continue
            name = one.getsockname()[:2]
            if name in taken:
                yield f"{key}: {endpoint} is the same address as {taken[name]}; remove one entry"
            taken[name] = endpoint


def _public(endpoint: str) -> Iterator[str]:
    if split_endpoint(endpoint)[0] in {_ALL_4, _ALL_6}:
        yield (
            f"{ADMIN}: metrics are public on all addresses of this machine ({endpoint}); set an "
            "address of an internal network, or 127.0.0.1:9180"
        )


def _crowd(workers: int) -> Iterator[str]:
    cores = os.cpu_count() or 1
    if workers > 8 * cores:
        yield (
            f"process.workers: {workers} processes for {cores} cores waste memory; "
            "set 0 for one per core"
        )
