"""Sealing notes anew with the newest key, so that older keys can go."""

from typing import Final

from sqlalchemy import bindparam, select, update

from mailstore.db.database import Database
from mailstore.db.dialect import overwrite_deleted
from mailstore.db.team_schema import message_notes
from mailstore.errors import KeyMissing, SealBroken
from mailstore.sealed.row_seal import RowSeal
from mailstore.teams.notes import bound_to

_AT_ONCE: Final = 200
_ROW = message_notes.c
_PAGE: Final = (
    select(message_notes)
    .where(_ROW.id > bindparam("after"), _ROW.text.is_not(None))
    .order_by(_ROW.id)
    .limit(_AT_ONCE)
)
# A note removed meanwhile stays removed.
_RESEAL: Final = (
    update(message_notes)
    .where(_ROW.id == bindparam("note"), _ROW.text == bindparam("before"))
    .values(text=bindparam("sealed"))
)


def reseal_notes(database: Database, seal: RowSeal) -> int:
    """Seal anew what an older key sealed, page by page; returns the number of notes.

    A note that was altered, or whose key is missing, stays as it is. Raises StoreUnavailable.
    """
    if seal.keys is not None:
        seal.keys.refresh()
    done, after = 0, 0
    while True:
        with database.write() as conn:
            rows = conn.execute(_PAGE, {"after": after}).all()
            overwrite_deleted(conn)
            for row in rows:
                before = bytes(row.text)
                if seal.is_newest(before):
                    continue
                bound = bound_to(row.mailbox_id, row.message_id, row.account_id)
                try:
                    sealed = seal.seal(seal.open(before, bound), bound)
                except (SealBroken, KeyMissing):
                    continue
                facts = {"note": row.id, "before": before, "sealed": sealed}
                done += conn.execute(_RESEAL, facts).rowcount
        if not rows:
            return done
        after = rows[-1].id
