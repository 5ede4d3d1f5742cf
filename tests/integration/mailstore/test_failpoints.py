"""Failpoints: off by default, each at its place."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from foundation.failpoints import (
    DELIVERY_STEPS,
    FOLDER_STEPS,
    NOTICE_STEPS,
    STEPS,
    TEAM_STEPS,
    VARIABLE,
    armed,
)
from tests.support.machines.processes import state_of
from tests.support.waiting import until_now

ROOT = Path(__file__).parents[3]

# Reaches a step three times, after another step.
_CHILD = """
from foundation.failpoints import failpoint
failpoint("rows.begun")
for number in range(3):
    print(number, flush=True)
    failpoint("rows.inserted")
"""
_PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_CHILD!r}])"


def start(program: str, crash_at: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, VARIABLE: crash_at},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def test_every_step_is_somewhere_and_no_other() -> None:
    sources = [
        path.read_text()
        for folder in ("mailstore", "relay", "operator", "foundation")
        for path in (ROOT / folder).rglob("*.py")
    ]
    named = {name for source in sources for name in re.findall(r'failpoint\("(.+?)"\)', source)}
    assert named == {*STEPS, *DELIVERY_STEPS, *NOTICE_STEPS, *FOLDER_STEPS, *TEAM_STEPS}


def test_without_the_variable_nothing_happens() -> None:
    unarmed = armed({})
    assert unarmed is armed({VARIABLE: ""})
    for step in (*STEPS, *DELIVERY_STEPS, *NOTICE_STEPS, *FOLDER_STEPS, *TEAM_STEPS):
        unarmed(step)


@pytest.mark.parametrize(
    "wanted", ["rows", "rows.begun:0", "rows.begun:", "x@rows.begun", "daemon@"]
)
def test_what_cannot_be_meant_is_refused_at_the_start(wanted: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{VARIABLE}={wanted}: expected")):
        armed({VARIABLE: wanted})
    process = start(_CHILD, wanted)
    out, error = process.communicate(timeout=20)
    assert (process.returncode, out) == (1, "")
    assert f"{VARIABLE}={wanted}" in error


def test_an_armed_process_knows_its_steps() -> None:
    with pytest.raises(ValueError, match="elsewhere is not a step"):
        armed({VARIABLE: "rows.begun:9"})("elsewhere")


@pytest.mark.parametrize(
    ("crash_at", "code", "printed"),
    [
        ("rows.inserted", -signal.SIGKILL, "0\n"),
        ("rows.inserted:3", -signal.SIGKILL, "0\n1\n2\n"),
        ("rows.inserted:4", 0, "0\n1\n2\n"),
        ("answer.due", 0, "0\n1\n2\n"),
        ("rows.begun", -signal.SIGKILL, ""),
    ],
)
def test_the_process_dies_at_the_step(crash_at: str, code: int, printed: str) -> None:
    process = start(_CHILD, crash_at)
    out, error = process.communicate(timeout=20)
    assert (process.returncode, out, error) == (code, printed, "")


def test_the_whole_group_dies_at_the_step() -> None:
    process = start(_PARENT, "daemon@rows.inserted:2")
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (-signal.SIGKILL, "0\n1\n")


def test_the_process_stops_at_the_step_until_it_is_told_to_go_on() -> None:
    process = start(_CHILD, "stop@rows.inserted")
    assert process.stdout is not None
    for number in range(3):
        assert process.stdout.readline() == f"{number}\n"
        until_now(lambda: state_of(process.pid) == "T")
        process.send_signal(signal.SIGCONT)
    assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 0


def test_the_process_hangs_at_the_step() -> None:
    process = start(_CHILD, "hang@rows.inserted:2")
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["0\n", "1\n"]
    until_now(lambda: state_of(process.pid) == "S")
    process.kill()
    assert process.communicate(timeout=20) == ("", "")
