"""Key file and audit trail of a database: whether they belong together."""

from sqlalchemy import select

from mailstore.audit.keys import AuditKeys
from mailstore.audit.locking import lock_totals
from mailstore.audit.tables import ends_of, sealed_ends, sealed_totals, totals_of
from mailstore.db.audit_schema import audit_chains, audit_state
from mailstore.db.database import Database

_SAMPLE = 16  # chains whose seals are tried


def has_begun(database: Database) -> bool:
    """True if there is a trail, which needs its keys. Raises StoreUnavailable."""
    with database.read() as connection:
        chain = connection.execute(select(audit_chains.c.id).limit(1)).first()
        totals = connection.execute(select(audit_state.c.id).limit(1)).first()
    return chain is not None or totals is not None


def is_ours(database: Database, keys: AuditKeys) -> bool:
    """True unless none of the trail's seals is by these keys. Raises StoreUnavailable.

    A single wrong seal is no reason to stop mail: it is a finding of `verify`.
    """
    with database.read() as connection:
        chains = connection.execute(
            select(*sealed_ends).order_by(audit_chains.c.id.desc()).limit(_SAMPLE)
        ).all()
        totals = connection.execute(select(*sealed_totals)).all()
    return (
        not (chains or totals)
        or any(keys.chain_age(ends_of(one), one.seal) is not None for one in chains)
        or any(keys.totals_age(totals_of(one), one.seal) is not None for one in totals)
    )


def begin(database: Database, keys: AuditKeys) -> None:
    """Begin a trail that has not begun, so that other keys are refused from now on.

    Raises StoreUnavailable, also KeyMissing.
    """
    with database.write() as connection:
        lock_totals(connection, keys)
