"""Schedule of the fetches of each revocation list's URL, and its file.

IGC-Santé publishes each morning, and its host answers too many requests with 403 or a web page
(DOMAIN U1.3).  So each URL is fetched once a day, on its own schedule; after a failure with
backoff.  The schedule is kept in a file beside the lists, so that a restart does not fetch again.
The file is not essential: without it every URL is due.
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
from whitelist.pki.crl_store import folder_lock

FIRST_PAUSE: Final = 30.0  # backoff: first pause in seconds after a failure
LONGEST_PAUSE: Final = 1800.0  # limit of the backoff, in seconds

_FILE: Final = "addresses.json"


@dataclass(frozen=True, slots=True)
class CrlAddress:
    """State of one URL.

    `asked`: aware time of the last fetch, None before the first.  `failures`: consecutive
    failures.  `kept`: file name of the last list from this URL.
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
        """Whether a fetch is due.

        `at`: current time, aware.  `interval`: normal time between two fetches.  `lists`: present
        lists by file name.  `missing`: file names of vanished lists.  A vanished list is fetched at
        once; a list with a quarter of its validity or less is fetched more often.  A last fetch in
        the future (the clock was ahead) does not count.
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


def load_addresses(folder: Path) -> dict[str, CrlAddress]:
    """Read the schedule, URL to state; empty if the file is missing, damaged or unreadable."""
    try:
        document = json.loads((folder / _FILE).read_bytes())
        return {url: _address(found) for url, found in document.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def save_addresses(folder: Path, addresses: Mapping[str, CrlAddress]) -> None:
    """Write the schedule atomically.  Raises OSError."""
    document = {
        url: {
            "asked": None if one.asked is None else one.asked.isoformat(),
            "failures": one.failures,
            "list": one.kept,
        }
        for url, one in addresses.items()
    }
    make_folder(folder)
    with folder_lock(folder):
        replace_file(folder / _FILE, json.dumps(document, indent=1).encode())


def _address(found: Mapping[str, str | int | None]) -> CrlAddress:
    asked = None if found["asked"] is None else datetime.fromisoformat(str(found["asked"]))
    if asked is not None and asked.tzinfo is None:
        raise ValueError(f"the instant {asked} has no time zone")
    return CrlAddress(asked, int(found["failures"] or 0), str(found["list"]))
