"""Notes beside the white list: small files that tell all processes how current the list is.

`confirmed`: last check that found the list at its source. `shared`: newest list of another machine,
as last seen in the database. `wanted`: touched when mail waits for a check. An unreadable file
counts as absent, so that less is refused for good.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from foundation.atomic_files import replace_file
from whitelist.national.newest import ConfirmedList, KnownLists, SharedList

CONFIRMED = "confirmed"
SHARED = "shared"
WANTED = "wanted"


def read_known(folder: Path) -> KnownLists:
    """Return the content of the notes."""
    own, shared = _read(folder / CONFIRMED), _read(folder / SHARED)
    try:
        confirmed = ConfirmedList(str(own["digest"]), _instant(own["at"])) if own else None
    except (KeyError, ValueError, TypeError):
        confirmed = None
    try:
        elsewhere = (
            SharedList(
                str(shared["digest"]),
                _instant(shared["generated_at"]),
                _instant(shared["checked_at"]),
            )
            if shared
            else None
        )
    except (KeyError, ValueError, TypeError):
        elsewhere = None
    return KnownLists(confirmed, elsewhere)


def write_confirmed(folder: Path, found: ConfirmedList) -> None:
    """Note a check. Raises OSError."""
    _write(folder / CONFIRMED, {"digest": found.digest, "at": _text(found.at)})


def write_shared(folder: Path, found: SharedList | None) -> None:
    """Note the newest list in the database; None: no list. Raises OSError."""
    if found is None:
        (folder / SHARED).unlink(missing_ok=True)
        return
    _write(
        folder / SHARED,
        {
            "digest": found.digest,
            "generated_at": _text(found.generated_at),
            "checked_at": _text(found.checked_at),
        },
    )


def _write(path: Path, record: dict[str, str]) -> None:
    replace_file(path, f"{json.dumps(record)}\n".encode())


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _instant(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return found


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat()
