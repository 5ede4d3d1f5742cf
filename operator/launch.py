"""What a process of the daemon is told at its start.

The settings come down its lifeline, so that all processes of one generation work by the very
configuration that the supervisor has checked, whatever has become of the file since.  What else it
needs are words of its command line.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from whitelist.names import DistinguishedName

from .settings import Settings


@dataclass(frozen=True, slots=True)
class Launch:
    """`sockets`: descriptors of those it serves; `debug_peers`: who leaves transcripts."""

    sockets: tuple[int, ...] = ()
    debug_peers: frozenset[DistinguishedName] = frozenset()

    def words(self) -> list[str]:
        """The arguments that `read` understands."""
        sockets = [word for one in self.sockets for word in ("--socket", str(one))]
        names = sorted(map(str, self.debug_peers))
        return sockets + [word for name in names for word in ("--debug-peer", name)]

    @staticmethod
    def declare(parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--socket", action="append", default=[], type=int)
        parser.add_argument("--debug-peer", action="append", default=[])

    @classmethod
    def read(cls, given: argparse.Namespace) -> Self:
        """Read the arguments."""
        return cls(tuple(given.socket), parse_names(given.debug_peer))


def parse_names(texts: Sequence[str]) -> frozenset[DistinguishedName]:
    """Names as a user or the supervisor writes them.  Raises InvalidName."""
    return frozenset(map(DistinguishedName.parse, texts))


def pack(settings: Settings) -> bytes:
    """Settings as one line."""
    return json.dumps({**settings.model_dump(mode="json"), "origin": str(settings.origin)}).encode()


def unpack(line: bytes) -> Settings:
    """The settings that `pack` wrote."""
    return Settings.model_validate_json(line)
