"""Fixtures for the tests of commands."""

from collections.abc import Iterator

import pytest

from tests.support.daemon import Daemon, lay_out
from tests.support.queue_desk import journal_files
from tests.support.replicas import kept_pair, pair

__all__ = ["kept_pair", "operator_q", "pair", "queue_installed"]


@pytest.fixture(scope="module")
def queue_installed(tmp_path_factory: pytest.TempPathFactory) -> Daemon:
    return lay_out(tmp_path_factory.mktemp("a"), "a")


@pytest.fixture
def operator_q(queue_installed: Daemon, database_url: str) -> Iterator[Daemon]:
    """Operator with an empty queue and an empty journal, on its own database."""
    text = queue_installed.config.read_text()
    ours = f'database = "{database_url}"\n\n[tls]'
    queue_installed.config.write_text(text.replace("[tls]", ours, 1))
    yield queue_installed
    queue_installed.config.write_text(text)
    for path in journal_files(queue_installed):
        path.unlink()
