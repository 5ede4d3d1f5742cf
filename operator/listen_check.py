"""Whether the configured addresses can be listened on, and whether that is meant."""

import errno
import os
from collections import Counter
from collections.abc import Iterator

from relay.listener import bind

from .endpoints import split_endpoint
from .findings import Finding, Says
from .settings import Settings
from .sockets import ADMIN, INBOUND, remedy

_ALL_4, _ALL_6 = "0.0.0.0", "::"  # noqa: S104 - looked for, not bound


def look(settings: Settings, *, daemon_runs: bool) -> Iterator[Finding]:
    """What there is to say of [inbound] listen, [admin] listen and [process] workers.

    `daemon_runs`: a daemon of this store is at work, and has the addresses.
    """
    named = [*((INBOUND, one) for one in settings.inbound.listen), (ADMIN, settings.admin.listen)]
    problems = [*_twice(named), *_overlaps(named)]
    if not problems:
        problems = [text for one in named if (text := _problem(*one, daemon_runs=daemon_runs))]
    for text in problems:
        yield Finding("listen", Says.NO, f"{settings.origin}: {text}")
    if not problems:
        addresses = ", ".join(endpoint for _, endpoint in named)
        state = "in use by the daemon that runs" if daemon_runs else "free to listen on"
        yield Finding("listen", Says.YES, f"{addresses}: {state}")
    for text in (*_public(settings.admin.listen), *_crowd(settings.process.workers)):
        yield Finding("listen", Says.DOUBT, f"{settings.origin}: {text}")


def _twice(named: list[tuple[str, str]]) -> Iterator[str]:
    count = Counter(split_endpoint(endpoint) for _, endpoint in named)
    for (host, port), times in count.items():
        if times > 1 and port:
            keys = ", ".join(sorted({k for k, one in named if split_endpoint(one) == (host, port)}))
            yield f"{keys}: {host} port {port} is there twice; remove one"


def _overlaps(named: list[tuple[str, str]]) -> Iterator[str]:
    """An address of all hosts beside another one with the same port."""
    split = [(key, endpoint, *split_endpoint(endpoint)) for key, endpoint in named]
    for key, endpoint, host, port in split:
        if host not in {_ALL_4, _ALL_6} or not port:
            continue
        for _, other, other_host, other_port in split:
            covered = other_port == port and other_host != host
            if covered and (host == _ALL_6 or ":" not in other_host):
                if (host, other_host) == (_ALL_4, _ALL_6):
                    continue  # told from the other one's side
                yield f"{key}: {endpoint} has {other} in it already; remove one"


def _problem(key: str, endpoint: str, *, daemon_runs: bool) -> str:
    """Why an address cannot be listened on, empty if it can; it is bound for a moment only."""
    try:
        bind(*split_endpoint(endpoint)).close()
    except OSError as error:
        if daemon_runs and error.errno == errno.EADDRINUSE:
            return ""
        return f"{key}: cannot listen on {endpoint}: {error.strerror}; {remedy(error)}"
    return ""


def _public(endpoint: str) -> Iterator[str]:
    if split_endpoint(endpoint)[0] in {_ALL_4, _ALL_6}:
        yield (
            f"{ADMIN}: {endpoint} is every address of this machine, and whoever reaches one reads "
            "the metrics; give one of an inner network, or 127.0.0.1:9180"
        )


def _crowd(workers: int) -> Iterator[str]:
    cores = os.cpu_count() or 1
    if workers > 8 * cores:
        yield (
            f"process.workers: {workers} processes for {cores} cores only take memory; "
            "0 makes one for each"
        )
