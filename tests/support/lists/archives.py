"""Archives in tests: adoption of lists, and invariants of a folder after a crash."""

import hashlib
import os
from datetime import datetime, timedelta

from tests.support.lists.hierarchy import NOW
from whitelist.national.archive import Archive, ListSource
from whitelist.national.lookup import WhiteList

SECOND = timedelta(seconds=1)
ROUNDS = int(os.environ.get("CRASH_ROUNDS", "5"))


def put(archive: Archive, made_list: tuple[bytes, WhiteList], now: datetime = NOW) -> bool:
    return archive.adopt(*made_list, now, ListSource.FILE, accepted_shrink=False)


def digests(archive: Archive) -> list[str]:
    return [version.digest for version in archive.records()]


def check_whole(archive: Archive) -> list[str]:
    """Check all promises about the folder's content; return the digests in the history."""
    versions = archive.records()
    for version in versions:
        octets = (archive.folder / version.file_name).read_bytes()
        assert hashlib.sha256(octets).hexdigest() == version.digest
        assert archive.load(version.digest)[1] == octets
    if archive.active_path.exists():
        active = archive.active()
        assert active is not None, "a list in force that is not in the history"
        assert archive.load("active") == (active, archive.active_path.read_bytes())
    return [version.digest for version in versions]


# Kept content
