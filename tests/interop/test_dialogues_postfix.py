"""Dialogues of our listener, played with a real Postfix too: every difference is justified.

docs/postfix-differences.md lists the differences.  A difference that is not in the page fails here,
and so does an entry of the page that is no longer found.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machines.operators import HOST, inbound
from tests.support.peers.postfix import COMMAND, missing
from tests.support.peers.postfix_rules import ruled
from tests.support.sessions.dialogue import parse
from tests.support.sessions.dialogue_record import differences, record
from tests.support.sessions.dialogue_settings import listener_settings

# The version of the page; other versions differ in a few replies.
VERSION = "3.7"

PROJECT = Path(__file__).parents[2]
PAGE = PROJECT / "docs" / "postfix-differences.md"
DIALOGUES = sorted((PROJECT / "tests/dialogues").glob("*.txt"))

# | dialogue | `what was answered` | ours | Postfix's |
_ROW = re.compile(r"^\| (?P<dialogue>\w+) \| `(?P<step>.+)` \| (?P<ours>.+) \| (?P<theirs>.+) \|$")


def unable() -> str:
    """Reason why this Postfix is not available; empty if it is."""
    why = missing()
    if why or COMMAND is None:
        return why
    postconf = Path(COMMAND).with_name("postconf")
    asked = (postconf, "-dh", "mail_version")
    version = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    return "" if version.startswith(f"{VERSION}.") else f"the page is about Postfix {VERSION}"


def listed() -> Iterator[tuple[str, str, str, str]]:
    """For each row of the page: dialogue, command, our reply, Postfix's reply."""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        row = _ROW.match(line)
        if row is not None:
            yield row["dialogue"], row["step"], row["ours"], row["theirs"]


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, int]]:
    with ruled({path.stem: parse(path).settings for path in DIALOGUES}) as found:
        yield found


@pytest.mark.skipif(bool(unable()), reason=unable())
@pytest.mark.parametrize("path", DIALOGUES, ids=lambda path: path.stem)
async def test_differences_are_the_listed_ones(
    path: Path, ports: dict[str, int], tmp_path: Path
) -> None:
    dialogue = parse(path)
    peer = None if dialogue.settings["peer"] == "none" else dialogue.settings["peer"]
    async with inbound(tmp_path, **listener_settings(dialogue.settings)) as server:
        ours = await record(dialogue, HOST, server.port, lambda: server.client_tls(peer))
        theirs = await record(dialogue, HOST, ports[path.stem], lambda: server.client_tls(peer))
    expected = {step: (us, them) for name, step, us, them in listed() if name == path.stem}
    assert differences(ours, theirs) == expected


def test_the_page_is_about_dialogues_that_exist_and_says_nothing_twice() -> None:
    rows = [(name, step) for name, step, _, _ in listed()]
    assert {name for name, _ in rows} <= {path.stem for path in DIALOGUES}
    assert len(rows) == len(set(rows)) > 0
