"""Tier of each test, decided only here; `pytest -m TIER` runs a tier.

The tier of a test is its mark, else its folder below tests/.  A test in the folder `unit` that
needs a server (PostgreSQL, S3) is `integration`.  While a unit test runs, the guard refuses to
start processes (tests/support/rules/guard.py).
"""

from collections.abc import Collection
from pathlib import Path

TIERS = {
    "unit": "in this process alone, within moments: `make check`",
    "integration": "starts processes of ours or servers, or takes long",
    "interop": "speaks with programs of others: Exim, Postfix, OpenSMTPD, scanners",
    "crash": "kills, fills disks, cuts power, loses databases",
}

_SERVERS = frozenset({"object_server", "own_database", "own_server", "postgres_server"})
_SERVED = frozenset({"postgresql", "bucket"})


def file_tier(path: Path) -> str:
    """Tier of a file's folder, for tests that have no mark and need no server.

    `path`: relative to the root of the checkout.  A file outside the tiers counts as `integration`.
    """
    return next((folder for folder in path.parts[:-1] if folder in TIERS), "integration")


def tier_of(path: Path, fixtures: Collection[str], parameters: Collection[object]) -> str:
    """Tier of an unmarked test, from its file, fixtures and parameter values."""
    if (tier := file_tier(path)) != "unit":
        return tier
    kinds = {str(one[0] if isinstance(one, tuple) and one else one) for one in parameters}
    served = _SERVERS.intersection(fixtures) or _SERVED & kinds
    return "integration" if served else "unit"
