"""A fork shares memory, but nothing that each process must own (docs/decisions/0018)."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mssante_operator.daemon import fork_server
from mssante_operator.machine.run_directory import METRICS
from tests.support.machines.processes import state_of
from tests.support.waiting import PATIENCE, until_now

# Imports all code of the launcher; the process prints its identifiers instead of running a role.
SCRIPT = """
import gc, json, os, random, secrets, socket, sys
from pathlib import Path
from uuid import uuid4
from mailstore.sealed.draft import Draft
from mssante_operator.assembly.clock import make_id
from mssante_operator.daemon import fork_server
from mssante_operator.roles import main
{before}
part = fork_server.serve(socket.socket(fileno=int(sys.argv[1])))
if part is not None:
    part.line.recv(100)
    os.write(part.stack, part.role.encode())
    drafts = [str(Draft(Path("/nowhere"), *form)._path) for form in ((), ())]
    said = {{
        "role": part.role,
        "sockets": [socket.socket(fileno=one).getsockname()[1] for one in part.sockets],
        "own": [
            *drafts,
            make_id()[12:],
            secrets.token_hex(),
            uuid4().hex,
            str(random.random()),
            str(random.SystemRandom().random()),
        ],
        "frozen": gc.get_freeze_count() > 10_000 and gc.isenabled(),
    }}
    part.line.sendall(json.dumps(said).encode())
"""


@contextmanager
def launcher(folder: Path, before: str = "") -> Iterator[tuple[socket.socket, int]]:
    """Control socket and pid of a launcher; at the end it must exit with 0 after EOF."""
    ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    with ours, theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT.format(before=before), str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={**os.environ, METRICS: str(folder)},
        )
        theirs.close()
        try:
            yield ours, process.pid
            ours.close()
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()  # empty if it has ended
            process.wait()


def hear(line: socket.socket) -> dict[str, Any]:
    line.settimeout(PATIENCE)
    heard: dict[str, Any] = json.loads(line.recv(65_536))
    return heard


def test_no_two_processes_share_names_identifiers_or_randomness(tmp_path: Path) -> None:
    lines, told, pids = [], [], set()
    with (
        launcher(tmp_path) as (requests, pid),
        socket.create_server(("127.0.0.1", 0)) as served,
        (tmp_path / "stacks").open("wb") as stacks,
    ):
        for number in range(4):
            ours, theirs = socket.socketpair()
            with theirs:
                sockets = (served.fileno(),) * number
                fork_server.request_fork(
                    requests, f"role{number}", theirs, stacks.fileno(), sockets
                )
            lines.append(ours)
            pids.add(hear(ours)["pid"])
        assert len(pids | {pid}) == 5
        for line in lines:  # in parallel, so that the time cannot make identifiers differ
            line.sendall(b"go")
        for line in lines:
            with line:
                told.append(hear(line))
                assert line.recv(1) == b"", "somebody else holds a process's line"
        port = served.getsockname()[1]
        children = Path(f"/proc/{pid}/task/{pid}/children")
        assert children.read_text() == "", "they are not the launcher's"
    stacks_of = (tmp_path / "stacks").read_text()
    assert sorted(re.findall("role.", stacks_of)) == [f"role{n}" for n in range(4)]
    assert [one["role"] for one in told] == ["role0", "role1", "role2", "role3"]
    assert [one["sockets"] for one in told] == [[port] * number for number in range(4)]
    own = [word for one in told for word in one["own"]]
    assert len(own) == len(set(own)) == 4 * 7
    assert all(one["frozen"] for one in told)
    until_now(lambda: all(state_of(one) in {"", "Z"} for one in pids))  # init may be slow


def test_a_system_that_cannot_fork_is_a_reason(tmp_path: Path) -> None:
    # The second fork happens in the intermediate process.
    before = """
real, forks = os.fork, [0]
def fork():
    forks[0] += 1
    if forks[0] in (1, 3):
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return real()
os.fork = fork
"""
    with launcher(tmp_path, before) as (requests, _):
        for _ in range(2):
            ours, theirs = socket.socketpair()
            with ours:
                with theirs:
                    fork_server.request_fork(requests, "worker", theirs, theirs.fileno(), ())
                said = hear(ours)
                assert said["problem"] == "[Errno 11] Resource temporarily unavailable"
                assert ours.recv(1) == b""
