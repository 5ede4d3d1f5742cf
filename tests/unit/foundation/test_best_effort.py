"""Errors of logging, metrics and journal end in best_effort; all others pass."""

import asyncio

import pytest
from structlog.testing import capture_logs

from foundation.best_effort import best_effort


def test_errors_end_there_and_are_logged() -> None:
    with capture_logs() as logs, best_effort:
        raise OSError("no room")
    assert [entry["event"] for entry in logs] == ["information.error"]


@pytest.mark.parametrize("end", [asyncio.CancelledError, KeyboardInterrupt, SystemExit])
def test_ends_pass(end: type[BaseException]) -> None:
    with pytest.raises(end), best_effort:
        raise end
