"""Rows of an older version are sealed under a running daemon, whatever kills the job."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select, text

from foundation.failpoints import SEALING_STEPS, VARIABLE
from mailstore.db.database import Database
from mailstore.db.schema import messages
from mailstore.sealed.address_seal import AddressSeal
from mailstore.sealed.keyring import rotate
from mssante_operator.assembly.clock import utc_now
from mssante_operator.assembly.database.database_check import TABLES
from mssante_operator.jobs.row_sealing import RowSealingJob
from relay.queue.schema import deliveries
from tests.support.delivery.queued import INS, PATIENT, Letter, put
from tests.support.storage.blobs import MADE, keyring
from tests.support.storage.object_server import CHECKOUT

JOB = """
import asyncio, sys
from pathlib import Path
import mailstore.messages.row_sealing as pages
from mailstore.db.database import Database
from mailstore.sealed.address_seal import AddressSeal
from mailstore.sealed.keyring import Keyring
from mssante_operator.assembly.clock import utc_now
from mssante_operator.assembly.database.database_check import TABLES
from mssante_operator.jobs.row_sealing import RowSealingJob
pages.PAGE = 3
database = Database(sys.argv[1], seal=AddressSeal(Keyring(Path(sys.argv[2]))))
if sys.argv[3] == "job":
    asyncio.run(RowSealingJob(database, utc_now).round())
else:
    for table in pages.sealed_tables(TABLES, database):
        table.whole()
"""
OLD = [Letter(sender=PATIENT), Letter(to=(PATIENT,), domain="patient.mssante.fr"), Letter()]
EVERY = [f"{step}:{count}" for step in SEALING_STEPS for count in (1, 2)]


def run(database: Database, keys: Path, what: str, at: str = "") -> int:
    url = database.url.render_as_string(hide_password=False)
    env = {**os.environ, **({VARIABLE: at} if at else {})}
    words = [sys.executable, "-c", JOB, url, str(keys), what]
    return subprocess.run(words, cwd=CHECKOUT, env=env, check=False).returncode


def stored(database: Database) -> str:
    with database.read() as conn:
        return "\n".join(
            str(tuple(row))
            for table in TABLES
            for row in conn.execute(select(text("*")).select_from(table))
        )


@pytest.fixture
def sealed(database: Database, tmp_path: Path) -> Iterator[Database]:
    url = database.url.render_as_string(hide_password=False)
    with closing(Database(url, seal=AddressSeal(keyring(tmp_path)))) as opened:
        yield opened


def senders(database: Database) -> list[tuple[str, str]]:
    with database.read() as conn:
        query = select(messages.c.sender, deliveries.c.sender).join(deliveries)
        return [(row[0], row[1]) for row in conn.execute(query.order_by(messages.c.id))]


@pytest.mark.parametrize("at", EVERY)
def test_a_killed_job_loses_no_row_and_goes_on(
    database: Database, sealed: Database, tmp_path: Path, at: str
) -> None:
    put(database, *OLD * 4)
    before = senders(database)
    for _ in range(2):
        assert run(database, tmp_path / "keys", "job", at) == -9
        assert senders(sealed) == before
    assert run(database, tmp_path / "keys", "job") == 0
    assert senders(sealed) == before
    assert INS not in stored(sealed)


@pytest.mark.parametrize("at", EVERY)
def test_a_killed_rotation_can_be_made_again(sealed: Database, tmp_path: Path, at: str) -> None:
    put(sealed, *OLD * 4)
    before = senders(sealed)
    rotate(tmp_path / "keys", MADE)
    assert run(sealed, tmp_path / "keys", "rotation", at) == -9
    assert senders(sealed) == before
    assert run(sealed, tmp_path / "keys", "rotation") == 0
    assert senders(sealed) == before
    newest = (tmp_path / "keys").read_text().splitlines()[-1].split()[0]
    assert isinstance(sealed.seal, AddressSeal)
    assert sealed.seal.keys.newest.id.hex() == newest
    with sealed.read() as conn:
        raw = conn.scalars(text("SELECT sender FROM messages WHERE sender LIKE '~sealed:%'")).all()
    assert len(raw) == 4
    assert all(map(sealed.seal.is_newest, raw))


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_what_was_overwritten_or_removed_is_not_in_the_file(
    database: Database, sealed: Database
) -> None:
    put(database, *OLD * 40)
    with database.write() as conn:  # rows that an older version removed, without overwriting
        conn.execute(text("DELETE FROM delivery_recipients WHERE id % 2 = 0"))
    folder = Path(str(database.url.database)).parent
    name = Path(str(database.url.database)).name

    def found() -> list[str]:
        files = [folder / f"{name}{end}" for end in ("", "-wal", "-shm")]
        return [one.name for one in files if one.exists() and INS.encode() in one.read_bytes()]

    assert found()
    database.close()
    await RowSealingJob(sealed, utc_now).round()
    assert found() == []
    assert len(senders(sealed)) == 120
