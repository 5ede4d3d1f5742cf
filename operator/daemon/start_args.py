"""What a process of the daemon is told at its start.

It comes down its lifeline, so that all processes of one generation work by the very configuration
that the supervisor has checked, whatever has become of the file since.  Only descriptors go another
way (forking.py).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from whitelist.pki.distinguished_name import DistinguishedName

from ..settings.model import Settings


@dataclass(frozen=True, slots=True)
class Launch:
    """`sockets`: descriptors of those it serves; `debug_peers`: who leaves transcripts."""

    sockets: tuple[int, ...] = ()
    debug_peers: frozenset[DistinguishedName] = frozenset()


def parse_names(texts: Sequence[str]) -> frozenset[DistinguishedName]:
    """Names as a user or the supervisor writes them.  Raises InvalidName."""
    return frozenset(map(DistinguishedName.parse, texts))


def pack(settings: Settings, launch: Launch) -> bytes:
    """Settings, and what a launch has but descriptors, as one line."""
    values = {**settings.model_dump(mode="json"), "origin": str(settings.origin)}
    names = sorted(map(str, launch.debug_peers))
    return json.dumps({"settings": values, "debug_peers": names}).encode()


def unpack(line: bytes, sockets: tuple[int, ...]) -> tuple[Settings, Launch]:
    """What `pack` wrote, for a process that has these descriptors."""
    said = json.loads(line)
    settings = Settings.model_validate_json(json.dumps(said["settings"]))
    return settings, Launch(sockets, parse_names(said["debug_peers"]))
