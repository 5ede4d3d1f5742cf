"""A process exits at its deadline although a thread hangs, and its log is written."""

import subprocess
import sys
import time

SCRIPT = """
import asyncio, threading
from mssante_operator import log_writer, logs
from mssante_operator.daemon.forced_exit import end_within

log_writer.take_over()
logs.configure("info", "json")

async def run():
    asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)
    end_within(0.2, CODE)

asyncio.run(run())
"""


def test_it_ends_without_the_thread() -> None:
    for code in (0, 1):
        begun = time.monotonic()
        ended = subprocess.run(
            [sys.executable, "-c", SCRIPT.replace("CODE", str(code))],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == code
        assert '"event": "process.cut_off"' in ended.stderr
        assert "asyncio_0" in ended.stderr
        assert time.monotonic() - begun < 60
