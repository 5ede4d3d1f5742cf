"""`mssante demo` as a new user runs it."""

import subprocess
from pathlib import Path

from tests.support.machines.daemon import MSSANTE


def test_every_step_is_shown(tmp_path: Path) -> None:
    done = subprocess.run(
        [*MSSANTE, "demo"], capture_output=True, text=True, cwd=tmp_path, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    beginnings = [
        "list verified: 3 entries, 3 domains, signed by alb.mssante.fr",
        "operator A serves a.mssante.fr on 127.0.0.1:",
        "operator B serves b.mssante.fr on 127.0.0.1:",
        "A → B delivered: ",
        "    from claire.martin@a.mssante.fr, ",
        "    over TLS from CN=smtp.a.mssante.fr,",
        "B → A delivered: ",
        "    from claire.martin@b.mssante.fr, ",
        "    over TLS from CN=smtp.b.mssante.fr,",
        "refused an intruder whose certificate is off the list: 554 5.7.1 ",
        "refused listed operator C with a sender of operator A: 550 5.7.1 ",
        "demo: every step ended as it must",
    ]
    assert len(lines) == len(beginnings)
    for line, beginning in zip(lines, beginnings, strict=True):
        assert line.startswith(beginning)
    assert list(tmp_path.iterdir()) == []
