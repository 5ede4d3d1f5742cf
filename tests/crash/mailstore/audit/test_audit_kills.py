"""kill -9 amid appends of several processes: the trail is whole, and no act is without its row."""

import json
import random
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import select

from mailstore.audit.keys import AuditKeys
from mailstore.audit.trail import AuditTrail
from mailstore.audit_reading.findings import Checked
from mailstore.audit_reading.verify import verify
from mailstore.db.audit_schema import audit_rows
from mailstore.db.database import Database
from mailstore.db.schema import domains
from tests.support.audit.trails import audit_keys
from tests.support.audit.writer import act

PROCESSES, ROUNDS = 3, 2

pytestmark = pytest.mark.timeout(300)


def kill_amid(url: str, keys: AuditKeys, chance: random.Random, number: int) -> set[str]:
    """Start writers and kill each after some acts; returns the domains that must be there."""
    promised = set[str]()
    with ExitStack() as running:
        processes = {}
        for one in range(PROCESSES):
            name = f"r{number}p{one}"
            words = ["-m", "tests.support.audit.writer", url, str(keys.path), name]
            process = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE)
            running.enter_context(process)
            running.callback(process.kill)
            processes[name] = process
        for name, process in processes.items():
            assert process.stdout is not None
            for _ in range(chance.randrange(2, 20)):
                act_number = int(process.stdout.readline())
                promised.add(f"{name}-{act_number}-0.fr")
            process.kill()
    return promised


def test_no_act_is_without_its_row(database: Database, database_url: str, tmp_path: Path) -> None:
    keys, chance, promised = audit_keys(tmp_path), random.Random("kills"), set[str]()
    for number in range(ROUNDS):
        promised |= kill_amid(database_url, keys, chance, number)
        assert list(verify(database, keys, Checked())) == []
    with database.read() as connection:
        acts = list(connection.scalars(select(domains.c.name)))
        facts = [
            json.loads(one)["domain"] for one in connection.scalars(select(audit_rows.c.facts))
        ]
    assert sorted(facts) == sorted(acts)
    assert promised <= set(acts)
    act(database, AuditTrail(keys), ["afterwards.fr"])
    assert list(verify(database, keys, Checked())) == []
