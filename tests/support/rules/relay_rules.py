"""Rules for all tests of the relay, which a conftest.py imports: turned time, no blocking calls."""

from collections.abc import Iterator

import pytest

from tests.support.rules.blocking import loop_watched


@pytest.fixture(autouse=True)
def time_is_turned(store_time_is_ours: None) -> None:
    """Most tests here turn the clock; a module that needs PostgreSQL's own overrides this."""


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """No code of the relay may block the event loop of a coroutine that is a test."""
    if pyfuncitem.get_closest_marker("asyncio") is None:
        return (yield)
    with loop_watched():
        return (yield)
