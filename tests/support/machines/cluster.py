"""Machines of one operator, each with its own folder and addresses, on one store."""

import json
import random
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from mailstore.db.database import Database
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox
from mailstore.s3.bucket import BucketPlace
from mssante_operator.setup.install import SAMPLES
from tests.support.clock import system_clock
from tests.support.machines.daemon import Daemon, client, lay_out

DURAND = "durand@b.mssante.fr"
MARTIN = "claire.martin@a.mssante.fr"


def keep_in_bucket(daemon: Daemon, place: BucketPlace, database: str = "", *keys: str) -> None:
    """Configure a bucket for the bodies, a database, and further keys of [storage]."""
    credentials = {"access": place.access_key, "secret": place.secret_key}
    for name, credential in credentials.items():
        file = daemon.folder / name
        file.touch(0o600)
        file.write_text(f"{credential}\n")
    lines = [
        'directory = "data"',
        f"database = {json.dumps(database)}",
        *keys,
        "",
        "[storage.s3]",
        f'bucket = "{place.bucket}"',
        f'endpoint = "{place.endpoint}"',
        f'region = "{place.region}"',
        f'prefix = "{place.prefix}"',
        'access_key_file = "access"',
        'secret_key_file = "secret"',
    ]
    text = daemon.config.read_text()
    daemon.config.write_text(text.replace('directory = "data"', "\n".join(lines)))


def lay_out_machines(
    folder: Path,
    place: BucketPlace,
    database: str,
    *keys: str,
    routes: Mapping[str, str] | None = None,
) -> Sequence[Daemon]:
    """Operator a on two machines; the database has the schema and no rows."""
    return lay_out_apart(folder, [(place, database)] * 2, database, *keys, routes=routes)


def lay_out_apart(
    folder: Path,
    ways: Sequence[tuple[BucketPlace, str]],
    database: str,
    *keys: str,
    routes: Mapping[str, str] | None = None,
) -> Sequence[Daemon]:
    """The same, with separate addresses of bucket and database for each machine."""
    names = ("one", "two", "three")[: len(ways)]
    machines = [lay_out(folder / name, "a", routes) for name in names]
    for machine, (place, url) in zip(machines, ways, strict=True):
        keep_in_bucket(machine, place, url, *keys)
    # Each machine must read the other's bodies.
    for machine in machines[1:]:
        for name in ("keys", "audit-keys"):
            shutil.copy(machines[0].folder / "data" / name, machine.folder / "data" / name)
    seed_mailboxes(database)
    return machines


def seed_mailboxes(database: str) -> None:
    """Add operator a's domain with its four mailboxes to an empty database."""
    with closing(Database(database)) as opened, opened.write() as connection:
        now = system_clock()
        add_domain(connection, "a.mssante.fr", now=now)
        for local, kind, identifier, _ in SAMPLES:
            add_mailbox(connection, f"{local}@a.mssante.fr", kind, identifier, now=now)


def body(seed: int, octets: int = 300_000) -> bytes:
    """A message like no other; its default size is too large for the database."""
    text = random.Random(seed).randbytes(octets // 2).hex()
    lines = "\r\n".join(text[i : i + 76] for i in range(0, len(text), 76))
    return f"From: <{DURAND}>\r\nSubject: [FIN]\r\n\r\n{lines}\r\n".encode()


def send(daemon: Daemon, message: bytes, to: Sequence[str] = (MARTIN,)) -> None:
    with client(daemon, "b") as smtp:
        smtp.sendmail(DURAND, to, message)
