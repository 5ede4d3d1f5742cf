"""Tier of each test, decided only here; `pytest -m TIER` runs a tier.

The tier of a test is: its mark; else the folder below tests/ with a tier's name; else the entry of
its file in the table; else `integration` if it needs a server (PostgreSQL, S3); else `unit`. A unit
test may start no process, which is checked while it runs (tests/support/rules/guard.py), so a file
that is missing in the table is found.
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


def file_tier(path: Path) -> str | None:
    """Tier of the unmarked tests of a file; None if it depends on the fixtures of each test.

    `path`: relative to the root of the checkout.
    """
    for folder in path.parts[:-1]:
        if folder in TIERS:
            return folder
    return _TIER_OF.get(path.name)


def tier_of(path: Path, fixtures: Collection[str], parameters: Collection[object]) -> str:
    """Tier of an unmarked test, from its file, fixtures and parameter values."""
    if (tier := file_tier(path)) != "unit":
        return tier
    kinds = {str(one[0] if isinstance(one, tuple) and one else one) for one in parameters}
    served = _SERVERS.intersection(fixtures) or _SERVED & kinds
    return "integration" if served else "unit"
