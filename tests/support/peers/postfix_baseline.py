"""Postfix as the reference of `make bench` (inbound): tuned for speed, with default durability.

STARTTLS and a client certificate are required, each mailbox has a Maildir, up to a hundred
processes run, and clients are never slowed down because of the queue.  The system's Postfix is not
touched.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.machines.endpoints import free_endpoint
from tests.support.machines.federation import federation
from tests.support.peers.postfix import COMMAND, MASTER, Postfix, started

_MAIN = """\
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = hash:{folder}/etc/boxes
virtual_minimum_uid = 100
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_mailbox_limit = 0
smtpd_tls_security_level = encrypt
smtpd_tls_req_ccert = yes
smtpd_relay_restrictions = reject_unauth_destination
"""
# Full concurrency; clients are never slowed down.
HURRYING = """\
smtpd_client_connection_count_limit = 0
message_size_limit = 60000000
default_process_limit = 100
in_flow_delay = 0
"""
_QUEUES = ("maildrop", "incoming", "active")  # in the order in which a message passes them


def queue_files(folder: Path, queue: str) -> Iterator[Path]:
    """Messages in a queue of the Postfix in a folder; some may leave meanwhile."""
    for path, _, names in os.walk(folder / "queue" / queue):
        yield from (Path(path, name) for name in names)


class Baseline(Postfix):
    """Postfix that listens on loopback, with its Maildirs below `folder`/mail."""

    def queued(self) -> bool:
        """Whether a message still waits for delivery.  Cheap, since it is called often."""
        names = (*_QUEUES, "deferred")
        return any(next(queue_files(self.folder, name), None) is not None for name in names)

    def delivered(self) -> list[Path]:
        """Messages in all of its Maildirs."""
        return list((self.folder / "mail").glob("*/new/*"))


@contextmanager
def baseline(name: str, mailboxes: int) -> Iterator[Baseline]:
    """Run Postfix as operator `name`, with mailboxes bench0, bench1, … at NAME.mssante.fr."""
    known, endpoint, domain = federation(), free_endpoint(), f"{name}.mssante.fr"
    master = MASTER.format(endpoint=endpoint)
    main = _MAIN + HURRYING
    with started(domain, known.operators[name], known.space.hierarchy, main, master) as folder:
        # Its processes open the map at the first client.
        boxes = folder / "etc" / "boxes"
        boxes.write_text("".join(f"bench{n}@{domain} bench{n}/\n" for n in range(mailboxes)))
        assert COMMAND is not None
        postmap = Path(COMMAND).with_name("postmap")
        subprocess.run([postmap, "-c", folder / "etc", f"hash:{boxes}"], check=True, timeout=60)
        yield Baseline(folder, endpoint)
