"""Whether a mailbox is there for sessions: it exists, and its erasure has not begun."""

from typing import Final

from sqlalchemy import Connection, bindparam, select

from mailstore.db.schema import mailboxes
from mailstore.errors import NotFound

_PRESENT: Final = select(mailboxes.c.erased_at).where(mailboxes.c.id == bindparam("mailbox"))


def check_present(conn: Connection, mailbox_id: int) -> None:
    """Raise NotFound if there is no such mailbox, or its erasure has begun."""
    row = conn.execute(_PRESENT, {"mailbox": mailbox_id}).one_or_none()
    if row is None or row.erased_at is not None:
        raise NotFound(f"there is no mailbox {mailbox_id}, or it is erased")
