"""Summaries and searches in a large mailbox: `python -m tests.bench.mailstore.search`.

Prints the time of making all summaries and blocks, then of reads and searches: the median of some
runs, the first, the lowest, and the lowest CPU time. Each run is a new session: nothing is kept.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeVar

from foundation.ids import RANDOM_OCTETS, new_id
from mailstore.blobs.bodies import PreparedBody
from mailstore.db.database import Database
from mailstore.mail.reader import MailboxReader
from mailstore.messages.messages import LocalDelivery, Message, NewMessage, store_messages
from mailstore.search import criteria as c
from mailstore.search.criteria import Field
from mailstore.summary_store.blocks import make_next_block
from mailstore.summary_store.making import make_summaries
from mssante_operator.assembly.database import migrations
from tests.support.clock import NOW
from tests.support.storage.letters import TRACE, Letters, letter, opened_letters

_Found = TypeVar("_Found")
_OCTETS: Final = 1450  # of text: 1.8 kB with the header
_GROUP: Final = 500
_WORDS: Final = [
    "patient",
    "consultation",
    "ordonnance",
    "résultat",
    "biologie",
    "cardiologie",
    "échographie",
    "courrier",
    "suivi",
    "traitement",
    "dossier",
    "hospitalisation",
    "sortie",
    "compte",
    "rendu",
    "examen",
    "docteur",
    "service",
    "urgence",
]


def main() -> None:
    """Fill a mailbox and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--url", help="an empty PostgreSQL database; default: SQLite")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = options.url or f"sqlite:///{folder}/db"
        migrations.upgrade(url)
        database = Database(url)
        with opened_letters(database, Path(folder)) as letters:
            _measure(letters, options.messages)
        database.close()


def _measure(letters: Letters, count: int) -> None:
    ids = _timed("deliver", lambda: _fill(letters, count))
    _timed("place", letters.view)
    _timed("make all summaries", lambda: make_summaries(letters.store, letters.seal, ids))
    _timed("make all blocks", lambda: _blocks(letters))
    inbox = letters.view().folders()[0].id
    page = ids[-1000:]
    _median("1 000 envelopes, new session", lambda: _reader(letters).summaries(page))
    _median(
        "1 000 structures, new session", lambda: _reader(letters).summaries(page, structure=True)
    )
    half = NOW + timedelta(seconds=count - 100)
    searches: dict[str, c.Criterion] = {
        "envelope sender": c.Holds(Field.SENDER, "labo17@"),
        "internal date": c.Arrived(since=half),
        "not seen, since": c.And((c.Not(c.Flagged(1)), c.Arrived(since=half))),
        "From": c.Holds(Field.FROM, "martin 17"),
        "Subject": c.Holds(Field.SUBJECT, "échographie"),
        "not Subject": c.Not(c.Holds(Field.SUBJECT, "échographie")),
        "sent date": c.Sent(since=NOW.date() + timedelta(days=1)),
    }
    for name, criterion in searches.items():
        _median(name, _search(letters, inbox, criterion))
    texts: dict[str, c.Criterion] = {
        "Body, no match": c.Body("zzzyx"),
        "Text, no match": c.AnyText("zzzyx"),
        "Text of the newest 100": c.And((c.Arrived(since=half), c.AnyText("zzzyx"))),
    }
    for name, criterion in texts.items():
        _median(name, _search(letters, inbox, criterion), runs=3)


def _fill(letters: Letters, count: int) -> list[str]:
    chance, ids, blobs = random.Random(1), [], letters.store.blobs
    for start in range(0, count, _GROUP):
        new, drafts = [], []
        for number in range(start, min(start + _GROUP, count)):
            text = " ".join(chance.choices(_WORDS, k=_OCTETS // 10))
            octets = letter(
                f"{chance.choice(_WORDS)} {chance.choice(_WORDS)} {number}",
                text,
                From=f"Docteur Martin {number % 500} <martin{number % 500}@b.mssante.fr>",
                Message_ID=f"<{number}@b>",
            )
            draft = blobs.draft()
            draft.write(octets)
            drafts.append(draft)
            at = NOW + timedelta(seconds=number)
            ids.append(new_id(at, number.to_bytes(RANDOM_OCTETS, "big")))
            new.append((ids[-1], f"labo{number % 500}@b.mssante.fr", len(octets), at))
        bodies = [one for one in blobs.prepare(drafts) if isinstance(one, PreparedBody)]
        rows = [
            NewMessage(
                Message(name, sender, body.blob, size, TRACE, "local", "s", at),
                (LocalDelivery(letters.a, "a@a.mssante.fr"),),
            )
            for (name, sender, size, at), body in zip(new, bodies, strict=True)
        ]
        with letters.database.write() as conn:
            blobs.keep(conn, bodies, now=NOW)
            store_messages(conn, rows, now=NOW)
    return ids


def _blocks(letters: Letters) -> None:
    while make_next_block(letters.store, letters.seal, letters.a):
        pass


def _reader(letters: Letters) -> MailboxReader:
    return letters.reader()


def _search(letters: Letters, inbox: int, criterion: c.Criterion) -> Callable[[], list[int]]:
    return lambda: _reader(letters).search_folder(inbox, criterion)


def _timed(name: str, work: Callable[[], _Found]) -> _Found:
    begun = time.perf_counter()
    found = work()
    print(f"{name:32} {time.perf_counter() - begun:9.3f} s")
    return found


def _median(name: str, work: Callable[[], object], runs: int = 15) -> None:
    times, cpu = [], []
    found: object = None
    for _ in range(runs):
        begun, begun_cpu = time.perf_counter(), time.process_time()
        found = work()
        times.append(time.perf_counter() - begun)
        cpu.append(time.process_time() - begun_cpu)
    count = len(found) if isinstance(found, list | dict) else 0
    print(
        f"{name:32} {statistics.median(times) * 1000:9.1f} ms  (first {times[0] * 1000:.1f}; "
        f"lowest {min(times) * 1000:.1f}; CPU {min(cpu) * 1000:.1f}; {count} found)"
    )


if __name__ == "__main__":
    main()
