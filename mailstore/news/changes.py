"""Word of changed mailboxes, given in the transaction that changes them."""

from collections.abc import Collection
from typing import Final

from sqlalchemy import Connection, text

CHANNEL: Final = "mssante_mailbox"
_NUMBER: Final = text(
    "INSERT INTO mailbox_news (mailbox_id, number)"
    " VALUES (:mailbox, (SELECT COALESCE(max(number), 0) + 1 FROM mailbox_news))"
    " ON CONFLICT (mailbox_id) DO UPDATE SET number = excluded.number"
)
_NOTIFY: Final = text("SELECT pg_notify(:channel, :mailboxes)")


def note_changed(conn: Connection, mailbox_ids: Collection[int]) -> None:
    """Tell watchers that these mailboxes change; they learn of it at the commit."""
    if conn.dialect.name == "sqlite":
        for number in sorted(mailbox_ids):
            conn.execute(_NUMBER, {"mailbox": number})
    elif mailbox_ids:
        mailboxes = ",".join(map(str, sorted(mailbox_ids)))
        conn.execute(_NOTIFY, {"channel": CHANNEL, "mailboxes": mailboxes})
