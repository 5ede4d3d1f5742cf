"""Program that acts and audits without end: `python -m tests.support.audit.writer URL KEYS NAME`.

Each act adds domains, with an audit row for each, in one transaction; then a line is printed.
"""

import sys
from itertools import count
from pathlib import Path

from mailstore.audit.event import AuditActor, AuditEvent, Door
from mailstore.audit.keys import AuditKeys
from mailstore.audit.trail import AuditTrail
from mailstore.db.database import Database
from mailstore.mailboxes.mailboxes import add_domain
from tests.support.clock import system_clock


def act(database: Database, trail: AuditTrail, names: list[str]) -> None:
    """Add domains, each with its audit row."""
    now, actor = system_clock(), AuditActor(account=None, unix_user="test", door=Door.JOB)
    with database.write() as connection:
        for name in names:
            add_domain(connection, name, now=now)
        trail.append(
            connection,
            [
                AuditEvent(at=now, event="domain.added", actor=actor, facts={"domain": name})
                for name in names
            ],
        )


def main(url: str, keys: str, name: str) -> None:
    """Act until killed."""
    database, trail = Database(url), AuditTrail(AuditKeys(Path(keys)))
    for number in count():
        act(database, trail, [f"{name}-{number}-{part}.fr" for part in range(number % 3 + 1)])
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
