"""Changes of mailboxes for watchers, by this process or by another."""

import sys
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from sqlalchemy import insert, select

from mailstore.db.database import Database
from mailstore.db.engine.postgresql import connect_parameters
from mailstore.db.schema import mailboxes
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox
from mailstore.messages.messages import LocalDelivery, Message, NewMessage, store_messages
from mailstore.news.changes import CHANNEL, note_changed
from mailstore.news.deliveries import tell_delivered
from mailstore.news.mailbox_news import MailboxNews
from mailstore.news.payload import mailboxes_of
from mailstore.news.sqlite_changes import SqliteChanges
from tests.support.clock import NOW
from tests.support.ids import make_id


def open_mailboxes(database: Database, number: int) -> list[int]:
    """Open mailboxes; returns their ids."""
    with database.write() as conn:
        add_domain(conn, "chu.mssante.fr", now=NOW)
        rpps = Identifier(IdentifierKind.RPPS, "10000001916")
        add_mailbox(conn, "box0@chu.mssante.fr", MailboxType.PER, rpps, now=NOW)
        first = dict(conn.execute(select(mailboxes)).mappings().one())
        del first["id"]
        more = [
            first | {"address": address, "display": address}
            for address in (f"box{n}@chu.mssante.fr" for n in range(1, number))
        ]
        if more:
            conn.execute(insert(mailboxes), more)
        return list(conn.scalars(select(mailboxes.c.id).order_by(mailboxes.c.id)))


def change(database: Database, changed: Collection[int]) -> None:
    """Change mailboxes, as a session does."""
    with database.write() as conn:
        note_changed(conn, changed)


def deliver(database: Database, to: Collection[int]) -> None:
    """Deliver a message to mailboxes, as acceptance does."""
    one = Message(make_id(), "", "0" * 64, 10, "", "local", "s", NOW)
    deliveries = tuple(LocalDelivery(box, "a@chu.mssante.fr") for box in to)
    with database.write() as conn:
        store_messages(conn, [NewMessage(one, deliveries)], now=NOW)
    tell_delivered(database, to)


async def wait_until_heard(news: MailboxNews) -> None:
    """Return once every change is heard; all watchers are told before."""
    with news.watch(0) as probe:
        assert await probe.changed()


_WRITER = """
import sys
from mailstore.db.database import Database
from tests.support.storage.news import change, deliver
database = Database(sys.argv[1])
print("ready", flush=True)
for line in sys.stdin:
    act, *ids = line.split()
    {"change": change, "deliver": deliver}[act](database, [int(number) for number in ids])
    print("done", flush=True)
"""


@dataclass(frozen=True)
class Writer:
    """Another process that changes mailboxes."""

    process: Popen[str]

    def start(self, act: str, ids: Collection[int]) -> None:
        """Have it `change` mailboxes or `deliver` to them."""
        assert self.process.stdin
        self.process.stdin.write(f"{act} {' '.join(map(str, ids))}\n")
        self.process.stdin.flush()

    def finish(self) -> None:
        """Return once the change is committed."""
        assert self.process.stdout
        assert self.process.stdout.readline().strip() in {"ready", "done"}


@contextmanager
def writer(url: str) -> Iterator[Writer]:
    """Start another process, and end it afterwards."""
    with Popen([sys.executable, "-c", _WRITER, url], stdin=PIPE, stdout=PIPE, text=True) as process:
        made = Writer(process)
        made.finish()
        yield made


@contextmanager
def told_mailboxes(database: Database) -> Iterator[set[int]]:
    """The mailboxes of whose changes watchers are told during the block; filled at its end."""
    found: set[int] = set()
    if not database.several:
        with closing(SqliteChanges(Path(str(database.url.database)))) as changes:
            changes.start()
            yield found
            found |= changes.read()
        return
    parameters = make_conninfo("", **connect_parameters(database.url))
    with psycopg.connect(parameters, autocommit=True) as listener:
        channel = sql.Identifier(CHANNEL)
        listener.execute(sql.SQL("LISTEN {}").format(channel))
        yield found
        listener.execute(sql.SQL("NOTIFY {}, 'end'").format(channel))
        for one in listener.notifies():
            if one.payload == "end":
                return
            found.update(mailboxes_of(one.payload) or ())
