"""Every file in dialogues/, held with a listening operator on both event loops, as a peer would."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from relay.admission import HeaderFromPolicy
from relay.context import Limits
from tests.support.dialogue import parse, play
from tests.support.operators import HOST, inbound

DIALOGUES = sorted((Path(__file__).parent / "dialogues").glob("*.txt"))


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("path", DIALOGUES, ids=lambda path: path.stem)
def test_dialogue(path: Path, loop: object, tmp_path: Path) -> None:
    dialogue = parse(path)
    assert dialogue.steps, f"{path.name} says nothing"
    settings = dialogue.settings
    limits = Limits()
    if "max_recipients" in settings:
        limits = replace(limits, max_recipients=int(settings["max_recipients"]))

    async def hold() -> None:
        async with inbound(
            tmp_path,
            white_list=b"" if settings.get("list") == "none" else None,
            limits=limits,
            header_from=HeaderFromPolicy(settings.get("header_from", "tag")),
        ) as server:
            peer = None if settings["peer"] == "none" else settings["peer"]
            await play(dialogue, HOST, server.port, lambda: server.client_tls(peer))

    with asyncio.Runner(loop_factory=loop) as runner:  # type: ignore[arg-type]
        runner.run(hold())
