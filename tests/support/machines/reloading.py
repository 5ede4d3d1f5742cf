"""A daemon that is reloaded under load, and changes of its configuration."""

import re
import smtplib
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.crash.peer import name
from tests.support.machines.daemon import Daemon, client, dial, lay_out
from tests.support.storage.blobs import content
from tests.support.waiting import until_now

DURAND = "durand@b.mssante.fr"
MARTIN = "claire.martin@a.mssante.fr"
TEXT = b"From: <durand@b.mssante.fr>\r\nSubject: [FIN]\r\n\r\nBonjour\r\n"
CLIENTS = 3  # that come at once, each with a connection for each message
PATIENCE = 60.0


def change(daemon: Daemon, section: str, **keys: str) -> None:
    """Set keys of a section, in TOML's words, whether it has them or not."""
    text = daemon.config.read_text()
    head, _, rest = text.partition(f"[{section}]\n")
    body, separator, tail = rest.partition("\n[")
    for key in keys:
        body = re.sub(rf"^{key} = .*\n?", "", body, flags=re.MULTILINE)
    lines = "".join(f"{key} = {value}\n" for key, value in keys.items())
    daemon.config.write_text(f"{head}[{section}]\n{lines}{body}{separator}{tail}")


def operator(
    folder: Path, name: str, routes: dict[str, str] | None = None, *, workers: int = 1
) -> Daemon:
    """An operator whose log can be searched."""
    daemon = lay_out(folder, name, routes, workers=workers)
    change(daemon, "log", format='"json"')
    return daemon


def wait(daemon: Daemon, event: str, times: int = 1) -> None:
    """Return once the daemon has logged an event so many times."""
    until_now(lambda: len(daemon.events(event)) >= times, PATIENCE)


def reload(daemon: Daemon) -> None:
    """SIGHUP, to its good end."""
    done = len(daemon.events("reload.done"))
    daemon.hang_up()
    wait(daemon, "reload.done", done + 1)


def alive(pids: set[int]) -> set[int]:
    """Those of some processes that have not ended."""
    return {pid for pid in pids if Path(f"/proc/{pid}").exists()}


@dataclass
class Load:
    """Clients that come again and again, and what was acknowledged to them."""

    daemon: Daemon
    identity: tuple[Path, Path]
    enough: threading.Event = field(default_factory=threading.Event)
    acknowledged: list[str] = field(default_factory=list)
    probes: int = 0

    def send(self, number: int) -> None:
        """One connection after the other, each with one message; the daemon has time to reload."""
        count = 0
        while not self.enough.wait(0.2):
            message = TEXT + f"{number} {count}\r\n".encode()
            count += 1
            with dial(self.daemon.port, *self.identity) as smtp:
                assert smtp.sendmail(DURAND, [MARTIN], message) == {}
            self.acknowledged.append(name(message))

    def probe(self) -> None:
        """Ask for health again and again, a connection each."""
        while not self.enough.wait(0.1):
            with urllib.request.urlopen(
                f"http://{self.daemon.admin}/healthz", timeout=10
            ) as answer:
                assert answer.read() == b"ok\n"
            self.probes += 1

    def goes_on(self) -> None:
        """Return once more messages have been acknowledged."""
        seen = len(self.acknowledged)
        until_now(lambda: len(self.acknowledged) >= seen + 2 * CLIENTS, PATIENCE)


@contextmanager
def under_load(daemon: Daemon, *, probed: bool = False) -> Iterator[Load]:
    """Load for the time of the block; at its end all that was acknowledged is there, once."""
    load = Load(daemon, daemon.identity("b"))
    tasks: list[Callable[[], None]] = [partial(load.send, number) for number in range(CLIENTS)]
    if probed:
        tasks.append(load.probe)
    running: list[Future[None]] = []
    with ThreadPoolExecutor(len(tasks)) as pool:
        running += [pool.submit(task) for task in tasks]
        try:
            load.goes_on()
            yield load
            load.goes_on()
        finally:
            load.enough.set()
    for one in running:
        one.result()
    entries = daemon.entries(MARTIN)
    with daemon.store() as store:
        bodies = (content(store.blobs, entry.message.blob) for entry in entries)
        found = Counter(map(name, bodies))
    assert found == Counter(load.acknowledged)


@contextmanager
def begun(daemon: Daemon) -> Iterator[smtplib.SMTP]:
    """A session in the middle of its message."""
    smtp = client(daemon, "b")
    try:
        smtp.ehlo()
        assert smtp.mail(DURAND)[0] == 250
        assert smtp.rcpt(MARTIN)[0] == 250
        assert smtp.docmd("DATA")[0] == 354
        smtp.send(TEXT)
        yield smtp
    finally:
        smtp.close()
