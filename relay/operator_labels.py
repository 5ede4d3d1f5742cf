"""Operator labels for metrics: a limited set, stable for ever.

The file has a CN on each line, at most `PLACES`; the first operators that mail is sent to get a
label.  Lines are added under a lock, so that all processes agree, and the file outlives the
processes (docs/decisions/0021-labels-of-operators.md).
"""

import fcntl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from whitelist.pki.distinguished_name import DistinguishedName
from whitelist.pki.name_folding import fold

_log = structlog.get_logger(__name__)

PLACES: Final = 50
OTHER: Final = "other"  # operator without a label of its own
UNLISTED: Final = "unlisted"  # domain that is not on the white list
_LONGEST: Final = 100  # characters of a CN; X.520 allows 64


@dataclass(slots=True)
class OperatorLabels:
    """Labels of one installation.

    `names_of`: certificate names of a domain; with several names, the first CN in order that has a
    label counts.
    """

    path: Path
    names_of: Callable[[str], Iterable[DistinguishedName]]
    _known: tuple[str, ...] = field(default=(), init=False)
    _failing: bool = field(default=False, init=False)

    @property
    def all(self) -> tuple[str, ...]:
        """All labels given so far, and the two labels of no operator."""
        return (*self._known, OTHER, UNLISTED)

    def of(self, domain: str) -> str:
        """Return the label of a domain's operator; add a label if there is room.  Never raises."""
        operators = self._operators(domain)
        label = self._label(operators)
        if label != OTHER or len(self._known) >= PLACES or not operators[0]:
            return label
        try:
            self._add(operators[0])
        except OSError as error:
            if not self._failing:
                _log.error("metrics.operators_unwritable", path=str(self.path), why=str(error))
            self._failing = True
        else:
            self._failing = False
        return self._label(operators)

    def known(self, domain: str) -> str:
        """Return the label of a domain's operator; never add a label."""
        return self._label(self._operators(domain))

    def read(self) -> None:
        """Read the labels of the file; an unreadable file changes nothing."""
        try:
            self._learn(self.path.read_bytes())
        except OSError:
            return

    def _operators(self, domain: str) -> list[str]:
        """CNs of the operators in order; a name without CN is '' and comes last."""
        found = {fold(name.common_name or "")[:_LONGEST] for name in self.names_of(domain)}
        return sorted(found, key=lambda cn: (not cn, cn))

    def _label(self, operators: list[str]) -> str:
        if not operators:
            return UNLISTED
        return next((cn for cn in operators if cn in self._known), OTHER)

    def _learn(self, octets: bytes) -> None:
        lines = octets.decode("utf-8", "replace").split("\n")
        named = dict.fromkeys(fold(line)[:_LONGEST] for line in lines)
        self._known = tuple(filter(None, named))[:PLACES]

    def _add(self, cn: str) -> None:
        with self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # busy: the next delivery tries again
            file.seek(0)
            octets = file.read()
            self._learn(octets)
            if cn in self._known or len(self._known) >= PLACES:
                return
            # A line torn by a power failure stays one line: it costs one label, no more.
            line = (b"\n" if octets and not octets.endswith(b"\n") else b"") + f"{cn}\n".encode()
            file.write(line)
            file.flush()  # no fsync: deliveries must not wait for a label
            self._learn(octets + line)
