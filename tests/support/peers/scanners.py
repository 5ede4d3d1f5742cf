"""Real scanners on loopback, each in its own folder: clamd, and rspamd offline.

The programs come from `make setup` (tools/install-scanners.sh), or from the system.  clamd has one
signature, of the EICAR test file.  rspamd detects GTUBE by itself, and takes the action that the
local part of the sender names.  A scripted server plays scanners that misbehave.
"""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from mailstore.sealed.draft import MEMORY_LIMIT, Draft
from relay.scan.scanner import ScanFacts
from tests.support.machines.endpoints import free_endpoint
from tests.support.rules import needs as needs_package
from tests.support.waiting import until_now

_UNPACKED = Path(__file__).parents[3] / ".venv" / "scanners"

# In two parts, so that no virus scanner reports this file.
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-" + b"STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
CLEAN_MESSAGE = b"From: dr@b.mssante.fr\r\nSubject: [FIN]\r\n\r\nBonjour\r\n"

FACTS = ScanFacts(
    session="s1",
    message="m1",
    address="192.0.2.1",
    helo="smtp.b.mssante.fr",
    sender="dr@b.mssante.fr",
    recipients=("claire.martin@a.mssante.fr", "cardiologie@a.mssante.fr"),
)


def draft(folder: Path, *parts: bytes) -> Draft:
    """Draft with this content."""
    made = Draft(folder)
    for part in parts:
        made.write(part)
    return made


@contextmanager
def drafted(folder: Path, *parts: bytes) -> Iterator[Draft]:
    """The same during the block, for a draft that may be on disk."""
    made = draft(folder, *parts)
    try:
        yield made
    finally:
        made.discard()


def harmed_draft(folder: Path) -> Draft:
    """Draft that cannot be read back, since its file, the only file in the folder, is removed."""
    made = draft(folder, bytes(2 * MEMORY_LIMIT))
    next(folder.iterdir()).unlink()
    return made


def _program(name: str) -> Path | None:
    unpacked = [_UNPACKED / "usr" / part / name for part in ("bin", "sbin")]
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    return next(filter(Path.is_file, unpacked), Path(found) if found else None)


CLAMD, RSPAMD = _program("clamd"), _program("rspamd")


def needs(program: Path | None, name: str) -> pytest.MarkDecorator:
    """Skip if a scanner cannot run here."""
    package = {"clamd": "clamav-daemon"}.get(name, name)
    reason = needs_package.program(name, package, "tools/install-scanners.sh .venv/scanners")
    return pytest.mark.skipif(program is None, reason=reason)


@contextmanager
def _running(folder: Path, words: list[str | Path], ready: Callable[[], bool]) -> Iterator[None]:
    """Run a program of the unpacked packages in the foreground, during the block."""
    libraries = _UNPACKED / "usr" / "lib"
    found = (*libraries.glob("*-linux-gnu*"), libraries / "rspamd")
    environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, found))}
    log = folder / "output.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            words, cwd=folder, env=environment, stdout=output, stderr=output, process_group=0
        )
    try:
        until_now(lambda: process.poll() is not None or ready(), patience=60)
        assert process.poll() is None, log.read_text(errors="replace")
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            with suppress(ProcessLookupError):  # rspamd's workers, if rspamd has not ended them
                os.killpg(process.pid, signal.SIGKILL)


_CLAMD = """\
DatabaseDirectory {folder}/signatures
LocalSocket {folder}/clamd.sock
TCPAddr {host}
TCPSocket {port}
StreamMaxLength 1M
LogFile {folder}/clamd.log
PidFile {folder}/clamd.pid
TemporaryDirectory {folder}
Foreground yes
"""


@dataclass(frozen=True)
class RunningClamd:
    """Addresses of a clamd, TCP and UNIX, which accepts at most one megabyte."""

    endpoint: str
    socket: str


@contextmanager
def clamd(folder: Path) -> Iterator[RunningClamd]:
    """Run a clamd."""
    assert CLAMD is not None
    (folder / "signatures").mkdir()
    # Extended signatures: name, any file type, any offset, hexadecimal.
    (folder / "signatures" / "test.ndb").write_text(f"Test.Eicar:0:*:{EICAR.hex()}\n")
    endpoint = free_endpoint()
    host, _, port = endpoint.rpartition(":")
    config, socket = folder / "clamd.conf", folder / "clamd.sock"
    config.write_text(_CLAMD.format(folder=folder, host=host, port=port))
    with _running(folder, [CLAMD, f"--config-file={config}"], socket.exists):
        yield RunningClamd(endpoint, f"unix:{socket}")


_RSPAMD = """\
options {{
  pidfile = "{folder}/rspamd.pid";
  tempdir = "{folder}";
  url_tld = "{folder}/domains";
  hs_cache_dir = "{folder}/";
  cache_file = "{folder}/symbols.cache";
  filters = "";
  explicit_modules = [];
  dns {{ nameserver = ["127.0.0.1:9"]; timeout = 0.1s; retransmits = 1; }}
}}
lang_detection {{ enabled = false; }}
logging {{ type = "console"; level = "info"; }}
worker "normal" {{ bind_socket = "{endpoint}"; count = 1; }}
actions {{ reject = 15; add_header = 6; greylist = 4; }}
lua = "{folder}/rules.lua";
"""

_RULES = """\
rspamd_config:register_symbol({
  name = 'SENDER_SAYS', type = 'prefilter',
  callback = function(task)
    local from = task:get_from('smtp')
    local action = from and from[1] and from[1].user:gsub('%.', ' ')
    local known = { ['soft reject'] = 1, ['reject'] = 1, ['greylist'] = 1, ['add header'] = 1,
                    ['rewrite subject'] = 1, ['no action'] = 1 }
    if known[action] then
      task:set_pre_result(action, string.format('%d octets for %d from %s',
        task:get_size(), #task:get_recipients('smtp'), task:get_helo()))
    end
  end,
})
"""


@contextmanager
def rspamd(folder: Path) -> Iterator[str]:
    """Run an rspamd; gives its URL."""
    assert RSPAMD is not None
    endpoint = free_endpoint()
    config = folder / "rspamd.conf"
    config.write_text(_RSPAMD.format(folder=folder, endpoint=endpoint))
    (folder / "domains").write_text("fr\n")  # its own list compiles slowly
    (folder / "rules.lua").write_text(_RULES)
    shared = RSPAMD.parents[1] / "share" / "rspamd"
    places = {
        "SHAREDIR": shared,
        "LUALIBDIR": shared / "lualib",
        "RULESDIR": shared / "rules",
        "PLUGINSDIR": shared / "plugins",
        "CONFDIR": folder,
        "DBDIR": folder,
        "RUNDIR": folder,
    }
    words = [f"--var={name}={place}" for name, place in places.items()]

    def ready() -> bool:
        try:
            with urlopen(f"http://{endpoint}/ping", timeout=5) as answer:
                return bool(answer.read())
        except (URLError, ConnectionError):
            return False

    # As root rspamd would switch to another user, which may not exist.
    with _running(folder, [RSPAMD, "-i", "-f", "-c", config, *words], ready):
        yield f"http://{endpoint}"


Conversation = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class ScriptedScanner:
    """Server on loopback whose conversations the test writes; `ended` counts them."""

    port: int = 0
    ended: int = 0

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"


@asynccontextmanager
async def scripted(conversation: Conversation) -> AsyncIterator[ScriptedScanner]:
    """Serve during the block; open conversations end with it."""
    scanner = ScriptedScanner()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await conversation(reader, writer)
        finally:
            writer.close()
            scanner.ended += 1

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    scanner.port = server.sockets[0].getsockname()[1]
    try:
        yield scanner
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
