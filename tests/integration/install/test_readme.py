"""Commands of the README work: the first command listens and prints how to send."""

import os
import signal
import smtplib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.machines.daemon import free_endpoint

ROOT = Path(__file__).parents[3]
MADE_BY_MAKE = Path(sys.prefix) == ROOT / ".venv"


def commands() -> list[str]:
    """Commands of the README's first block, without comments."""
    block = (ROOT / "README.md").read_text(encoding="utf-8").split("```")[1]
    return [line.partition("#")[0].strip() for line in block.splitlines()[1:]]


def test_the_two_commands() -> None:
    assert commands() == ["make run", "make test"]  # the second command runs this very suite


@pytest.mark.skipif(not MADE_BY_MAKE, reason="not in the environment that make sets up")
def test_make_run(tmp_path: Path) -> None:
    endpoint, admin = free_endpoint(), free_endpoint()
    make = subprocess.Popen(
        [
            *commands()[0].split(),
            f"DIR={tmp_path}/run",
            f"INIT=--listen {endpoint} --admin {admin}",
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        process_group=0,
    )
    assert make.stdout is not None
    lines = []
    for line in make.stdout:
        lines.append(line)
        if line.startswith("mssante listens on "):
            break
    text = "".join(lines)
    assert f"swaks --server {endpoint} --tls" in text
    assert "message send" in text
    assert lines[-1] == f"mssante listens on {endpoint}, admin on {admin}\n"
    with smtplib.SMTP("127.0.0.1", int(endpoint.split(":")[1]), timeout=20) as smtp:
        assert smtp.noop()[0] == 250
    os.killpg(make.pid, signal.SIGTERM)
    make.stdout.close()
    make.wait(30)
