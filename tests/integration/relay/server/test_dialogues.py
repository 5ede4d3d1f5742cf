"""Every file in dialogues/, run against a listening operator on both event loops, as a peer."""

import asyncio
import re
from pathlib import Path

import pytest
import uvloop

from relay.server.peer_service import PEERS
from tests.support.machines.operators import HOST, inbound
from tests.support.rules.references import ROOT
from tests.support.rules.replies import replies_of_the_relay
from tests.support.sessions.dialogue import parse, play
from tests.support.sessions.dialogue_settings import listener_settings

DIALOGUES = sorted((ROOT / "tests/dialogues").glob("*.txt"))


# Replies that no dialogue causes, and the tests that do.
ELSEWHERE = {
    "421 4.3.2": (
        "tests/integration/relay/server/test_listener.py",
        "tests/integration/relay/server/test_connection.py",
    ),
    "421 4.4.2": ("tests/integration/relay/server/test_connection.py",),
    "450 4.7.1": ("tests/integration/relay/server/test_quotas.py",),
    "451 4.3.0": (
        "tests/integration/relay/server/test_session.py",
        "tests/integration/relay/server/test_connection.py",
    ),
    "451 4.2.1": ("tests/integration/relay/server/test_session.py",),
    "452 4.3.1": ("tests/integration/relay/server/test_session.py",),
    "550 5.5.3": ("tests/unit/relay/submission/test_sending_quota.py",),  # local submission
}


def test_every_reply_is_in_a_dialogue() -> None:
    held = "".join(path.read_text(encoding="utf-8") for path in DIALOGUES)
    said = set(re.findall(r"^S: ([245]\d\d [245]\.\d\.\d)", held, re.MULTILINE))
    assert replies_of_the_relay() - said == set(ELSEWHERE)
    assert DIALOGUES
    for files in ELSEWHERE.values():
        assert all((ROOT / file).exists() for file in files)


def test_every_command_and_extension_is_in_a_dialogue() -> None:
    held = "".join(path.read_text(encoding="utf-8") for path in DIALOGUES)
    commands = {verb.decode() for verb in PEERS.handlers}
    assert {c for c in commands if not re.search(rf"^[CX]: {c}\b", held, re.MULTILINE)} == set()
    offers = ("SIZE", "8BITMIME", "SMTPUTF8", "DSN", "CHUNKING", "LIMITS", "PIPELINING")
    assert [offer for offer in offers if f"S: 250-{offer}" not in held] == []


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("path", DIALOGUES, ids=lambda path: path.stem)
def test_dialogue(path: Path, loop: object, tmp_path: Path) -> None:
    dialogue = parse(path)
    assert dialogue.steps, f"{path.name} says nothing"
    peer = None if dialogue.settings["peer"] == "none" else dialogue.settings["peer"]

    async def hold() -> None:
        async with inbound(tmp_path, **listener_settings(dialogue.settings)) as server:
            await play(dialogue, HOST, server.port, lambda: server.client_tls(peer))

    with asyncio.Runner(loop_factory=loop) as runner:  # type: ignore[arg-type]
        runner.run(hold())
