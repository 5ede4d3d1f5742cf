"""Word of changed mailboxes, given in the transaction that changes them."""

from collections.abc import Collection
from typing import Final

from sqlalchemy import Connection, text

from mailstore.news.payload import payloads_of

CHANNEL: Final = "mssante_mailbox"
# A row is never deleted, also of an erased mailbox: its number would be given again, and watchers
# that know the number would miss that change.
_NUMBER: Final = text(
    "INSERT INTO mailbox_news (mailbox_id, number)"
    " VALUES (:mailbox, (SELECT COALESCE(max(number), 0) + 1 FROM mailbox_news))"
    " ON CONFLICT (mailbox_id) DO UPDATE SET number = excluded.number"
)


def note_changed(conn: Connection, mailbox_ids: Collection[int]) -> None:
    """Tell watchers that these mailboxes change; they learn of it at the commit."""
    if not mailbox_ids:
        return
    if conn.dialect.name == "sqlite":
        conn.execute(_NUMBER, [{"mailbox": number} for number in sorted(set(mailbox_ids))])
    else:
        for payload in payloads_of(mailbox_ids):  # digits and commas
            # NOTIFY takes no parameters; pg_notify, which does, takes more than twice its time.
            conn.exec_driver_sql(f"NOTIFY {CHANNEL}, '{payload}'")


def note_delivered(conn: Connection, mailbox_ids: Collection[int]) -> None:
    """Tell watchers of new entries, in the transaction that inserts them: for few of them.

    Acceptance tells after its commit (`mailstore.news.deliveries`). SQLite writes nothing: its
    watchers find the entries by their ids.
    """
    if conn.dialect.name != "sqlite":
        note_changed(conn, mailbox_ids)
