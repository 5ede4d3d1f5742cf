"""Changes of rows by SQL, as by a person who has the database alone."""

from sqlalchemy import ColumnElement, Connection, select, update

from mailstore.db.people_schema import credentials


def flip_a_bit(conn: Connection, which: ColumnElement[bool]) -> None:
    """Alter the verifier of the one credential of a condition."""
    sealed = bytes(conn.execute(select(credentials.c.verifier).where(which)).scalar_one())
    altered = sealed[:-1] + bytes([sealed[-1] ^ 1])
    conn.execute(update(credentials).where(which).values(verifier=altered))
