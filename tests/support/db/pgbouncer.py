"""Real PgBouncer in front of a PostgreSQL, in its own folder.

The program comes from `make setup` (tools/install-pooler.sh), or from the system.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.db.postgresql import Server, servers_user
from tests.support.machines.endpoints import free_endpoint
from tests.support.machines.machine import PEERS
from tests.support.rules import needs
from tests.support.waiting import until_now

_UNPACKED = PEERS / "pgbouncer"


@cache
def _program() -> str | None:
    unpacked = _UNPACKED / "usr" / "sbin" / "pgbouncer"
    return str(unpacked) if unpacked.exists() else shutil.which("pgbouncer")


def missing() -> str:
    """Reason why PgBouncer cannot run here; empty if it can."""
    if _program() is not None:
        return ""
    return needs.program("pgbouncer", "pgbouncer", "tools/install-pooler.sh .venv/peers")


@contextmanager
def pooling(server: Server, mode: str, **settings: object) -> Iterator[int]:
    """Run PgBouncer with a `pool_mode` in front of all databases of a server; yields its port."""
    program = _program()
    assert program is not None
    # Not pytest's folder: PgBouncer refuses to run as root, and its user has no access there.
    folder = Path(tempfile.mkdtemp(prefix="mssante-pooler-"))
    for file in (Path(program), *_UNPACKED.rglob("*.so.*")):
        shutil.copy(file, folder)
    port = int(free_endpoint().rpartition(":")[2])
    lines = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "trust",
        "auth_file": folder / "users",
        "pool_mode": mode,
        **settings,
    }
    (folder / "users").write_text('"postgres" ""\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={server.port}\n[pgbouncer]\n"
        + "".join(f"{key} = {value}\n" for key, value in lines.items())
    )
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        user = {"user": servers_user(), "group": servers_user(), "extra_groups": []}
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, servers_user())
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(
            [folder / "pgbouncer", folder / "pgbouncer.ini"],
            cwd="/",
            env={"LD_LIBRARY_PATH": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            **user,
        )
    try:
        until_now(lambda: b"process up" in (folder / "said").read_bytes())
        yield port
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)
