"""Errors of a faulty database, also of rows that are read as the driver's tuples."""

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text

from mailstore.db.database import Database
from mailstore.errors import StoreUnavailable


def test_a_damaged_file_is_a_store_that_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "db"
    database = Database(path)
    with database.connect() as conn:
        conn.exec_driver_sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB)")
        conn.exec_driver_sql("INSERT INTO t VALUES (1, zeroblob(100000)), (2, zeroblob(100000))")
        conn.commit()
    database.close()
    octets = bytearray(path.read_bytes())
    middle = len(octets) * 3 // 4  # in the second row
    octets[middle:] = b"\xff" * (len(octets) - middle)
    path.write_bytes(octets)
    database = Database(path)
    with pytest.raises(StoreUnavailable) as raised, database.read() as conn:
        conn.execute(text("SELECT id, v FROM t")).cursor.fetchall()
    assert isinstance(raised.value.__cause__, sqlite3.Error)  # past SQLAlchemy
    database.close()
