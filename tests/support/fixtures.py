"""Fixtures of relay and commands: peers for conversations, a delivery store, an operator's queue.

Keys are made once for a module.
"""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailstore.db.database import Database
from tests.support.delivery.delivery_store import DeliveryStore
from tests.support.delivery.handing import Handing, context_of, handing
from tests.support.delivery.queue_commands import journal_files
from tests.support.machines.daemon import Daemon, lay_out
from tests.support.sessions.scripted import ScriptedPeer


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Handing:
    """Operator B, which no test may change."""
    return handing(tmp_path_factory.mktemp("handing") / "b")


@pytest.fixture(scope="module")
def server_context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """What operator A shows."""
    return context_of("a", tmp_path_factory.mktemp("peer"))


@pytest.fixture
def scripted(server_context: ssl.SSLContext) -> ScriptedPeer:
    """Operator A, in order so far."""
    return ScriptedPeer(server_context)


@pytest.fixture
def delivery_store(tmp_path: Path, database: Database) -> Iterator[DeliveryStore]:
    """A store with a sender and a postmaster, on both databases."""
    made = DeliveryStore(tmp_path, database)
    yield made
    made.store.blobs.close()


@pytest.fixture(scope="module")
def queue_installed(tmp_path_factory: pytest.TempPathFactory) -> Daemon:
    return lay_out(tmp_path_factory.mktemp("a"), "a")


@pytest.fixture
def operator_q(queue_installed: Daemon, database_url: str) -> Iterator[Daemon]:
    """An operator with an empty queue and an empty journal, on a database of its own."""
    text = queue_installed.config.read_text()
    ours = f'database = "{database_url}"\n\n[tls]'
    queue_installed.config.write_text(text.replace("[tls]", ours, 1))
    yield queue_installed
    queue_installed.config.write_text(text)
    for path in journal_files(queue_installed):
        path.unlink()
