"""What a process of the daemon is told beyond the configuration, as words of its command line."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from whitelist.names import DistinguishedName


@dataclass(frozen=True, slots=True)
class Launch:
    """`listen`: addresses that the supervisor holds; `debug_peers`: who leaves transcripts."""

    listen: tuple[str, ...] = ()
    debug_peers: frozenset[DistinguishedName] = frozenset()

    def words(self) -> list[str]:
        """The arguments that `read` understands."""
        listen = [word for endpoint in self.listen for word in ("--listen", endpoint)]
        names = sorted(map(str, self.debug_peers))
        return listen + [word for name in names for word in ("--debug-peer", name)]

    @staticmethod
    def declare(parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--listen", action="append", default=[])
        parser.add_argument("--debug-peer", action="append", default=[])

    @classmethod
    def read(cls, given: argparse.Namespace) -> Self:
        """Read the arguments."""
        return cls(tuple(given.listen), parse_names(given.debug_peer))


def parse_names(texts: Sequence[str]) -> frozenset[DistinguishedName]:
    """Names as a user or the supervisor writes them.  Raises InvalidName."""
    return frozenset(map(DistinguishedName.parse, texts))
