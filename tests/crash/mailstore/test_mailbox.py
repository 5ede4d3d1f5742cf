"""Two processes change a mailbox, one of which is killed: all that was acknowledged is so.

Acknowledged: printed by the writer after the return of the act.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import func, select

from foundation.failpoints import FOLDER_STEPS, VARIABLE
from mailstore.db.folder_schema import expunged, folder_messages, mailbox_state
from mailstore.db.schema import entries
from mailstore.mailboxes.usage import used_octets
from tests.support.storage.mail_house import MailHouse

pytestmark = pytest.mark.timeout(300)

CHECKOUT = Path(__file__).parents[3]
Said = list[tuple[str, str, int, int]]


def writer(
    house: MailHouse, url: str, folder: Path, seed: int, acts: int, strike: str = ""
) -> "subprocess.Popen[str]":
    """Start a writer, to be killed at a step."""
    words = [url, str(folder), str(house.a), str(seed), str(acts)]
    environment = {**os.environ, **({VARIABLE: strike} if strike else {})}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.storage.mailbox_writer", *words],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def said(child: "subprocess.Popen[str]") -> Said:
    """Acts that a writer has acknowledged, up to its end."""
    out, _ = child.communicate(timeout=120)
    return [_act(line) for line in out.splitlines(keepends=True) if line[-1] == "\n"]


def _act(line: str) -> tuple[str, str, int, int]:
    act, name, folder, uid = json.loads(line)
    return act, name, folder, uid


def check(house: MailHouse, some: list[Said]) -> None:
    """All acknowledged acts are so; UIDs are given once; counters are right."""
    view = house.view()
    state = view.look()
    present = [one for folder in view.folders() for one in view.messages(folder.id)]
    places = {one.message_id: (one.folder_id, one.uid) for one in present}
    flagged = {one.message_id for one in present if one.flags}
    given: dict[tuple[int, int], str] = {}
    for acts in some:
        for act, name, folder, uid in acts:
            if act in ("append", "move"):
                assert given.setdefault((folder, uid), name) == name, "a UID was given twice"
        # The act after the last acknowledged one may have happened, to one message at most.
        last = {name: (act, folder, uid) for act, name, folder, uid in acts}
        was_flagged = {name for act, name, _, _ in acts if act == "flag"}
        odd = [
            name
            for name, (act, folder, uid) in last.items()
            if act != "receive"
            and places.get(name) != (None if act == "expunge" else (folder, uid))
        ]
        assert len(odd) <= 1, odd
        received = {name for act, name, _, _ in acts if act == "receive"}
        assert received <= places.keys()
        assert (was_flagged & places.keys()) <= flagged
    assert max(Counter(one.message_id for one in present).values()) == 1
    with house.database.read() as conn:
        gone = conn.execute(select(expunged.c.folder_id, expunged.c.uid)).all()
        assert not {tuple(row) for row in gone} & {(one.folder_id, one.uid) for one in present}
        rows = conn.scalar(select(func.count()).select_from(folder_messages))
        assert rows == conn.scalar(select(func.count()).select_from(entries)) == len(present)
        assert state.messages == len(present)
        assert used_octets(conn, house.a).octets == sum(one.size for one in present)
        highest = max(one.modseq for one in present)
        assert (conn.scalar(select(mailbox_state.c.modseq)) or 0) >= highest
    for one in view.folders():
        own = [message for message in present if message.folder_id == one.id]
        assert one.messages == one.unseen == len(own)
        assert one.octets == sum(message.size for message in own)
        assert one.uid_next > max((message.uid for message in own), default=0)


# Writers make no copies, which would be doubles here.
STEPS = [step for step in FOLDER_STEPS if step != "folders.copied"]


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_session_loses_and_doubles_nothing(
    house: MailHouse, database_url: str, tmp_path: Path, step: str
) -> None:
    killed = writer(house, database_url, tmp_path, 1, 10_000, f"{step}:4")
    other = writer(house, database_url, tmp_path, 2, 40)
    some = [said(killed), said(other)]
    assert (killed.returncode, other.returncode) == (-9, 0)
    assert some[0]
    assert len(some[1]) == 40
    check(house, some)
    # A session goes on where the killed one stopped.
    again = writer(house, database_url, tmp_path, 3, 10)
    some.append(said(again))
    assert again.returncode == 0
    check(house, some)
