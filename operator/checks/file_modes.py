"""File modes: doubts of `config check` about secrets and mail that other users can read.

Keys of bodies and of S3 are refused outright if others can read them (`mailstore.sealed.keyring`,
`assembly.s3`); this module reports files that are used all the same.  A private key readable by a
group is accepted: many systems share it that way.
"""

import shlex
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

from ..settings.model import Settings

_OTHERS: Final = 0o007
_ALL_BUT_OWNER: Final = 0o077


def doubts(settings: Settings) -> list[str]:
    """A line for each secret or folder that is too open, with the command that closes it."""
    found = [_open_to_others(settings.path(settings.tls.key), "our private key")]
    if _has_password(settings.storage.database):
        found.append(_open_to_others(settings.origin, "the database's password"))
    folder = settings.path(settings.storage.directory)
    if _mode(folder) & _ALL_BUT_OWNER:
        found.append(
            f"{folder}: mail folder open to other users; "
            f"run: chmod go-rwx {shlex.quote(str(folder))}"
        )
    return [text for text in found if text]


def _open_to_others(path: Path, holds: str) -> str:
    if not _mode(path) & _OTHERS:
        return ""
    return (
        f"{path}: {holds} readable by all users of this machine; "
        f"run: chmod o-rwx {shlex.quote(str(path))}"
    )


def _mode(path: Path) -> int:
    """Mode of a file; 0 if it cannot be read, which other checks report."""
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _has_password(url: str) -> bool:
    parts = urlsplit(url)
    return bool(parts.password) or "password" in parse_qs(parts.query)
