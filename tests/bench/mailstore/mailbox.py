"""How long a session waits for a large mailbox: open, flags, changes, and the first look.

`python -m tests.bench.mailstore.mailbox [--messages N] [--postgresql]`: on SQLite, and on a
PostgreSQL started for it; both sync each commit. Milliseconds: of several runs the lowest, the
median and the worst.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Final

from mailstore.db.database import Database
from mailstore.folders.flags import FlagMode
from mailstore.mail.view import MailboxView
from mssante_operator.assembly.database import migrations
from tests.bench.sides import postgresql
from tests.support.storage.mail_house import MailHouse, add_mailboxes, open_house

RUNS: Final = 9
_GROUP: Final = 10_000  # messages delivered in a transaction


def measure(url: str, folder: Path, count: int) -> dict[str, list[float]]:
    """Milliseconds of each run, by act."""
    migrations.upgrade(url)
    with closing(Database(url)) as database:
        house = _house(database, folder)
        for begin in range(0, count, _GROUP):
            house.deliver(min(_GROUP, count - begin))
        view, found = house.view(), {}
        found["first look, all of it new"] = [_timed(view.look)]
        inbox = view.folders()[0].id
        found["open, as a new session"] = _runs(lambda: _open(house, inbox))
        found["open, first use of a new message"] = [
            _after_delivery(house, inbox) for _ in range(RUNS)
        ]
        found["all flags"] = _runs(lambda: view.flags(inbox))
        found["set a flag on 1 000"] = _set_flags(view, inbox, count)
        since = view.look().modseq - 1
        found["changes since, 1 000"] = _runs(lambda: view.changes(inbox, since))
        found["look without news"] = _runs(view.look)
        found["1 000 messages by UID"] = _runs(lambda: view.messages(inbox, range(1, 1001)))
        found["move 1 000"] = [_move(view, inbox, number) for number in range(3)]
        house.store.blobs.close()
    return found


def _house(database: Database, folder: Path) -> MailHouse:
    return MailHouse(open_house(database, folder), *add_mailboxes(database))


def _open(house: MailHouse, inbox: int) -> None:
    view = house.view()
    view.look()
    view.folder(inbox)


def _after_delivery(house: MailHouse, inbox: int) -> float:
    house.deliver()
    return _timed(lambda: _open(house, inbox))


def _set_flags(view: MailboxView, inbox: int, count: int) -> list[float]:
    return [_set_a_flag(view, inbox, run * 1000 % max(count - 1000, 1) + 1) for run in range(RUNS)]


def _set_a_flag(view: MailboxView, inbox: int, first: int) -> float:
    uids = range(first, first + 1000)
    return _timed(lambda: view.set_flags(inbox, uids, FlagMode.ADD, ["\\Seen"]))


def _move(view: MailboxView, inbox: int, number: int) -> float:
    archive = view.folders()[5].id
    uids = range(number * 1000 + 1, number * 1000 + 1001)
    return _timed(lambda: view.move(inbox, uids, archive))


def _runs(act: Callable[[], object]) -> list[float]:
    return [_timed(act) for _ in range(RUNS)]


def _timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1000


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--postgresql", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mssante-bench-") as name:
        path = Path(name)
        sides: list[tuple[str, AbstractContextManager[str]]] = [
            ("SQLite", nullcontext(f"sqlite:///{path / 'db'}"))
        ]
        if asked.postgresql:
            sides.append(("PostgreSQL", postgresql()))
        for side, server in sides:
            with server as url:
                folder = path / side
                folder.mkdir()
                found = measure(url, folder, asked.messages)
            print(f"{side}, {asked.messages} messages{'':15}lowest  median   worst  (ms)")
            for act, times in found.items():
                print(
                    f"  {act:38}{min(times):8.1f}{statistics.median(times):8.1f}{max(times):8.1f}"
                )


if __name__ == "__main__":
    main()
