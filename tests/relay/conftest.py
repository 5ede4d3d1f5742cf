"""A sender and a peer for conversations, with keys made once per module; and a store (office)."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailstore.db.database import Database
from tests.support.blocking import loop_watched
from tests.support.clock import store_time_is_ours
from tests.support.handing import Handing, context_of, handing
from tests.support.office import Office
from tests.support.scripted import ScriptedPeer

__all__ = ["store_time_is_ours"]


@pytest.fixture(autouse=True)
def time_is_turned(store_time_is_ours: None) -> None:
    """Most tests here turn the clock; a module that needs PostgreSQL's own clock overrides this."""


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """No code of the relay may block the event loop of an async test."""
    if pyfuncitem.get_closest_marker("asyncio") is None:
        return (yield)
    with loop_watched():
        return (yield)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Handing:
    """Operator B, which no test may change."""
    return handing(tmp_path_factory.mktemp("handing") / "b")


@pytest.fixture(scope="module")
def server_context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """The TLS context with operator A's certificate."""
    return context_of("a", tmp_path_factory.mktemp("peer"))


@pytest.fixture
def scripted(server_context: ssl.SSLContext) -> ScriptedPeer:
    """Operator A, in order so far."""
    return ScriptedPeer(server_context)


@pytest.fixture
def office(tmp_path: Path, database: Database) -> Iterator[Office]:
    """A store with a sender and a postmaster, on both databases."""
    made = Office(tmp_path, database)
    yield made
    made.store.blobs.close()
