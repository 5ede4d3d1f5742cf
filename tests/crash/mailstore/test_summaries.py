"""Summaries, blocks and resealing after kill -9 at each step: nothing is lost, doubled or wrong."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import func, select

from foundation.failpoints import SUMMARY_STEPS, VARIABLE
from mailstore.db.folder_schema import folders
from mailstore.db.summary_schema import search_blocks, summaries
from mailstore.mail.resealing import reseal_names
from mailstore.sealed.keyring import rotate
from mailstore.search import criteria as c
from mailstore.search.criteria import Field
from mailstore.summary_store.blocks import FEW, make_next_block
from mailstore.summary_store.making import load_summaries, make_summaries
from mailstore.summary_store.resealing import reseal_summaries
from tests.support.clock import NOW
from tests.support.storage.letters import Letters, letter

_WORK = """
import sys
from pathlib import Path
from mailstore.blobs.bodies import Bodies
from mailstore.blobs.file_store import FileBlobStore
from mailstore.blobs.store import Store
from mailstore.db.database import Database
from mailstore.sealed.row_seal import RowSeal
from mssante_operator.jobs.summaries import SummaryJob
from mailstore.mail.resealing import reseal_names
from mailstore.summary_store.resealing import reseal_summaries
from tests.support.clock import NOW
from tests.support.storage.blobs import form

url, folder, reseal = sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "reseal"
database = Database(url)
shape = form("encrypted", folder)
store = Store(Bodies(FileBlobStore(folder / "blobs", shape), database, lambda: NOW), database)
seal = RowSeal(shape.keys)
if reseal:
    reseal_summaries(database, seal)
    reseal_names(database, seal)
else:
    SummaryJob(store, seal, lambda: NOW, pause=0).round()
"""


def killed_at(step: str, letters: Letters, folder: Path) -> None:
    """Run a round of the job, or resealing, in a process that is killed at the step."""
    work = "reseal" if step.endswith(".resealed") else "job"
    url = letters.database.url.render_as_string(hide_password=False)
    done = subprocess.run(
        [sys.executable, "-c", _WORK, url, str(folder), work],
        env={**os.environ, VARIABLE: step},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize("step", SUMMARY_STEPS)
def test_the_next_round_goes_on(step: str, letters: Letters, tmp_path: Path) -> None:
    ids = letters.deliver(*(letter(f"mot{number} fin") for number in range(FEW)))
    letters.view()
    if step.endswith(".resealed"):
        make_summaries(letters.store, letters.seal, ids)
        assert make_next_block(letters.store, letters.seal, letters.a)
        assert letters.seal.keys is not None
        rotate(letters.seal.keys.path, NOW)
    killed_at(step, letters, tmp_path)
    assert all(load_summaries(letters.store, letters.seal, ids).values())
    while make_next_block(letters.store, letters.seal, letters.a):
        pass
    reseal_summaries(letters.database, letters.seal)
    reseal_names(letters.database, letters.seal)
    with letters.database.read() as conn:
        assert conn.scalar(select(func.count()).select_from(summaries)) == FEW
        assert conn.scalars(select(search_blocks.c.messages)).all() == [FEW]
        sealed = [bytes(one) for one in conn.scalars(select(summaries.c.sealed))]
        sealed += [bytes(one) for one in conn.scalars(select(folders.c.name))]
    assert all(map(letters.seal.is_newest, sealed))
    for number, message_id in enumerate(ids):
        (hit,) = letters.reader().search(c.Holds(Field.SUBJECT, f"mot{number} fin"))
        assert hit.message_id == message_id
