"""Common helpers of the tests of queue commands."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from mailstore.db.database import Database
from tests.support.clock import system_clock
from tests.support.delivery.queued import Letter, put, rows
from tests.support.machines.daemon import Daemon

HOUR = timedelta(hours=1)
Run = Callable[..., str]
WHY = ("--reason", "CHU asked, ticket 4711")
ACTS: dict[str, tuple[Letter, tuple[str, ...]]] = {
    "retry": (Letter(), ()),
    "hold": (Letter(), WHY),
    "release": (Letter(held="before"), ()),
    "drop": (Letter(), (*WHY, "--no-report")),
}


def journal_files(daemon: Daemon) -> list[Path]:
    return sorted((daemon.folder / "data" / "trace").rglob("*.jsonl"))


def events(daemon: Daemon) -> list[dict[str, Any]]:
    """Events of the journal, without times."""
    lines = [line for path in journal_files(daemon) for line in path.read_text().splitlines()]
    found = [json.loads(line) for line in lines if line]
    for one in found:
        assert one.pop("process").startswith("command:")
        del one["at"]
    return found


def queue(*letters: Letter, database: Database) -> list[int]:
    return put(database, *letters, now=system_clock())


def messages(database: Database) -> dict[int, str]:
    return {number: row.message_id for number, row in rows(database).items()}
