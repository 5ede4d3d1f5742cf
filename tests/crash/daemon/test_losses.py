"""Losses of all processes, added up by a process that may start long after them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mssante_operator.machine.run_directory import METRICS
from mssante_operator.monitoring.losses import LOG, STANDS_SECONDS, Losses


def measure(folder: Path, act: str) -> None:
    """Count losses in the metric files of a daemon process, which then exits."""
    script = f"from mssante_operator.monitoring.losses import *; {act}"
    environment = {**os.environ, METRICS: str(folder)}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)


def test_losses_of_before_the_first_look_are_no_news(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(METRICS, str(tmp_path))
    now = 0.0
    measure(tmp_path, "LOG_LOST.inc(5)")
    losses = Losses(lambda: now)  # as after a reload: a new maintenance process
    assert losses.standing() == {}
    measure(tmp_path, "LOG_LOST.inc(1)")
    assert list(losses.standing()) == [LOG]
    now += STANDS_SECONDS
    assert losses.standing() == {}


def test_a_process_that_fails_is_seen_at_the_first_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(METRICS, str(tmp_path))
    measure(tmp_path, "LOSING.labels(LOG).set(True)")
    assert list(Losses(lambda: 0.0).standing()) == [LOG]
