"""When the address of a revocation list (CRL) is asked, and the file that remembers it.

IGC-Santé publishes each morning, and its host answers too many questions with 403 or a web page
(DOMAIN U1.3).  So each address is asked once a day, by itself; after a failure again soon, then
less and less often.  What was asked when is kept beside the lists, so that a restart does not ask
all over again; that file is a help only: without it, every address is due.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from foundation.atomic_files import make_folder, replace_file
from foundation.backoff import backoff
from whitelist.pki.crl import RevocationList
from whitelist.pki.crl_store import alone

FIRST_PAUSE: Final = 30.0  # seconds until an address that failed is asked again
LONGEST_PAUSE: Final = 1800.0  # seconds: the longest such pause

_FILE: Final = "addresses.json"


@dataclass(frozen=True, slots=True)
class Address:
    """How an address stands.

    `asked` is the aware instant of the last question, None before the first; `failures` counts
    those in a row since; `kept` is the file name of the list that it gave last.
    """

    asked: datetime | None = None
    failures: int = 0
    kept: str = ""

    def due(
        self,
        at: datetime,
        interval: timedelta,
        lists: Mapping[str, RevocationList],
        missing: frozenset[str] = frozenset(),
    ) -> bool:
        """Whether to ask now, at the aware `at`.

        `lists` are those at hand by file name, `missing` the names of files that are gone.  With a
        quarter of the validity left, or less, an address is asked more often than each `interval`;
        with its list gone at once.  A question from after `at`, by a clock that was ahead, does
        not count.
        """
        if self.asked is None or self.asked > at:
            return True
        pause = interval
        crl = lists.get(self.kept)
        if self.failures:
            pause = timedelta(seconds=backoff(self.failures, FIRST_PAUSE, LONGEST_PAUSE))
        elif crl is None or self.kept in missing:
            pause = timedelta(seconds=FIRST_PAUSE)
        elif at >= crl.refresh_at or not crl.in_date(at):
            pause = min(interval, timedelta(seconds=LONGEST_PAUSE))
        return at - self.asked >= pause


def load_addresses(folder: Path) -> dict[str, Address]:
    """Read how addresses stand; nothing where the file is missing, damaged or unreadable."""
    try:
        document = json.loads((folder / _FILE).read_bytes())
        return {url: _address(found) for url, found in document.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def save_addresses(folder: Path, addresses: Mapping[str, Address]) -> None:
    """Write how addresses stand.  Raises OSError."""
    document = {
        url: {
            "asked": None if one.asked is None else one.asked.isoformat(),
            "failures": one.failures,
            "list": one.kept,
        }
        for url, one in addresses.items()
    }
    make_folder(folder)
    with alone(folder):
        replace_file(folder / _FILE, json.dumps(document, indent=1).encode())


def _address(found: Mapping[str, str | int | None]) -> Address:
    asked = None if found["asked"] is None else datetime.fromisoformat(str(found["asked"]))
    if asked is not None and asked.tzinfo is None:
        raise ValueError(f"the instant {asked} has no time zone")
    return Address(asked, int(found["failures"] or 0), str(found["list"]))
