"""The line between the supervisor and a process of the daemon: one socket pair each.

The child says once that it is ready or why it cannot start; afterwards nothing is said, and either
end closing means that the other is gone.  So a child never outlives its supervisor, even when that
one was killed, and the supervisor never waits for a child that has died.
"""

import asyncio
import json
import socket
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Report:
    """What a child said: ready if `problem` is empty."""

    problem: str = ""


def report(line: socket.socket, problem: str = "") -> None:
    """Tell the supervisor, from the child."""
    line.sendall(json.dumps({"problem": problem}).encode() + b"\n")


async def receive(line: socket.socket) -> Report:
    """Wait for a child's report on a non-blocking line, in the supervisor.

    A child that dies first has a problem.
    """
    said = b""
    while not said.endswith(b"\n"):
        more = await asyncio.get_running_loop().sock_recv(line, 4096)
        if not more:
            return Report("it ended before it was ready; its log above says why")
        said += more
    return Report(json.loads(said)["problem"])


async def wait_for_end(line: socket.socket) -> None:
    """Return when the supervisor has closed its end or is gone, in the child."""
    await asyncio.get_running_loop().sock_recv(line, 1)
