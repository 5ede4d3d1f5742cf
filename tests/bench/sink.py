"""The peer that takes what `make bench` sends out: in C, so that it is not the bottleneck.

It demands the client's certificate as peers do, shows that of operator b, and counts what comes.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from mssante_operator.setup.install import write_identity
from tests.support.faults import missing_header
from tests.support.machines.daemon import federation

EXTENSIONS: Final = ("PIPELINING", "SIZE 60000000", "8BITMIME", "SMTPUTF8", "DSN")
_SOURCE: Final = Path(__file__).with_suffix(".c")


def missing() -> str:
    """Why none can be made here, empty if one can."""
    return missing_header("openssl/ssl.h")


@dataclass(frozen=True, slots=True)
class Taken:
    """What a sink has taken since it began; times in seconds since 1970, 0 if there is none yet.

    `marked` are messages from senders whose address begins with "urgent".
    """

    messages: int
    recipients: int
    octets: int
    connections: int
    open: int
    first: float
    last: float
    marked: int
    marked_at: float


class Sink:
    """One that runs; it listens at `port` of as many addresses of loopback as were asked for."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._asked, self._told = process.stdin, process.stdout
        self.port = int(self._told.readline())

    def endpoint(self, number: int = 0) -> str:
        """HOST:PORT of one of its addresses."""
        high, low = divmod(number + 1, 256)
        return f"127.0.{high}.{low}:{self.port}"

    def taken(self, *, anew: bool = False) -> Taken:
        """What it has taken so far; `anew` has the next MAIL be the first."""
        self._asked.write("anew\n" if anew else "\n")
        self._asked.flush()
        return Taken(**json.loads(self._told.readline()))


@contextmanager
def sink(addresses: int = 1, extensions: Sequence[str] = EXTENSIONS) -> Iterator[Sink]:
    """Compile one and run it.  Raises subprocess.CalledProcessError."""
    authorities = federation().space.hierarchy
    with TemporaryDirectory(prefix="mssante-sink-") as name:
        folder = Path(name)
        write_identity(federation().operators["b"], authorities, folder, "b")
        known = authorities.root.certificate_pem + authorities.intermediate.certificate_pem
        (folder / "authorities.pem").write_bytes(known)
        program, compiler = folder / "sink", shutil.which("cc") or "cc"
        libraries = ("-pthread", "-lssl", "-lcrypto")
        subprocess.run([compiler, "-O2", "-o", program, _SOURCE, *libraries], check=True)
        files = (folder / "b.pem", folder / "b.key", folder / "authorities.pem")
        process = subprocess.Popen(
            [program, *files, str(addresses), *extensions],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:  # whose input is closed at its end, which ends it
            yield Sink(process)
