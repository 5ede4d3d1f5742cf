"""Fixtures that all tests share."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest
import structlog

from tests.support.clock import store_time_is_ours
from tests.support.db.databases import (
    database,
    database_url,
    dialect,
    empty_database_url,
    postgres_server,
    postgres_template,
    sqlite_template,
)
from tests.support.db.own_server import own_database, own_server
from tests.support.db.replicas import kept_pair, pair
from tests.support.fixtures import (
    delivery_store,
    operator_q,
    ours,
    queue_installed,
    scripted,
    server_context,
)
from tests.support.rules import needs, profiles
from tests.support.rules.guard import guarded, refused
from tests.support.rules.memory_disk import use_memory_disk
from tests.support.rules.tiers import TIERS, file_tier, tier_of
from tests.support.storage.kept_bodies import stored
from tests.support.storage.mail_house import house
from tests.support.storage.object_server import object_server

__all__ = [
    "database",
    "database_url",
    "delivery_store",
    "dialect",
    "empty_database_url",
    "house",
    "kept_pair",
    "object_server",
    "operator_q",
    "ours",
    "own_database",
    "own_server",
    "pair",
    "postgres_server",
    "postgres_template",
    "queue_installed",
    "scripted",
    "server_context",
    "sqlite_template",
    "store_time_is_ours",
    "stored",
]


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two workers for each core: half of a test's time it waits, for disks and processes.

    Unit tests wait for nothing, and their import takes 10 seconds of CPU in each worker: a worker
    for each core.
    """
    return (os.cpu_count() or 1) * (1 if config.getoption("markexpr") == "unit" else 2)


def pytest_configure(config: pytest.Config) -> None:
    """Make the tiers known as markers; with `-m unit`, choose what makes the tests quick."""
    for name, meaning in TIERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")
    # A traceback drawn by rich, if rich is installed, takes half a second of CPU.
    for processor in structlog.get_config()["processors"]:
        if isinstance(processor, structlog.dev.ConsoleRenderer):
            processor.exception_formatter = structlog.dev.plain_traceback
    unit_alone = config.getoption("markexpr") == "unit"
    profiles.load(unit_alone=unit_alone)
    if unit_alone:
        use_memory_disk()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With -m unit, do not even import a file of another tier."""
    if config.getoption("markexpr") != "unit" or not collection_path.name.startswith("test_"):
        return None
    return file_tier(collection_path.relative_to(config.rootpath)) != "unit" or None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test that bears no tier with its own, before -m chooses."""
    for item in items:
        if any(item.get_closest_marker(tier) for tier in TIERS):
            continue
        assert isinstance(item, pytest.Function)
        path = item.path.relative_to(item.config.rootpath)
        call = getattr(item, "callspec", None)
        item.add_marker(tier_of(path, item.fixturenames, call.params.values() if call else ()))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Refuse what the test may not do (tests/support/rules/guard.py)."""
    binds = item.get_closest_marker("binds_elsewhere") is not None
    with guarded(processes=item.get_closest_marker("unit") is None, binds=binds):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None]:
    """Fail a test that reached for more than it may, whatever it made of the refusal."""
    before = refused()
    try:
        with guarded(processes=True) as after:  # servers end with the last test, of any tier
            return (yield)
    finally:
        if before or after:
            pytest.fail("\n".join([*before, *after]), pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI, fail a test that skips for want of a package that set-up could have installed."""
    report = yield
    if "CI" in os.environ and report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2]
        if lacking := needs.forgotten(reason):
            report.outcome = "failed"
            report.longrepr = f"set-up could have installed {lacking}. {reason}"
    return report
