"""Settings and options that a process of the daemon gets at its start.

They are sent over the control channel.  So all processes of a generation use exactly the
configuration that the supervisor checked, even if the file has changed since.  Descriptors are
passed by fork_server.py.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from whitelist.pki.distinguished_name import DistinguishedName

from ..settings.model import Settings


@dataclass(frozen=True, slots=True)
class StartArgs:
    """`sockets`: descriptors of listening sockets.  `debug_peers`: DNs of peers to transcribe."""

    sockets: tuple[int, ...] = ()
    debug_peers: frozenset[DistinguishedName] = frozenset()


def parse_names(texts: Sequence[str]) -> frozenset[DistinguishedName]:
    """Parse DNs as a user or the supervisor writes them.  Raises InvalidName."""
    return frozenset(map(DistinguishedName.parse, texts))


def pack(settings: Settings, launch: StartArgs) -> bytes:
    """Settings and debug peers as one line of JSON, without descriptors."""
    values = {**settings.model_dump(mode="json"), "origin": str(settings.origin)}
    names = sorted(map(str, launch.debug_peers))
    return json.dumps({"settings": values, "debug_peers": names}).encode()


def unpack(line: bytes, sockets: tuple[int, ...]) -> tuple[Settings, StartArgs]:
    """Inverse of `pack`, for a process that has these descriptors."""
    said = json.loads(line)
    settings = Settings.model_validate_json(json.dumps(said["settings"]))
    return settings, StartArgs(sockets, parse_names(said["debug_peers"]))
