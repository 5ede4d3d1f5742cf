"""Strangers cost nothing: their events are partly recorded and summed up; peers lose no line."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from mssante_operator.jobs.strangers_summary import tell_of_strangers
from relay.connection.limits import SessionLimits
from relay.connection.strangers import (
    MAX_NETWORKS,
    MAX_TEXT,
    OF_ALL,
    OF_ONE,
    RateAllowance,
    Strangers,
    shortened,
)
from tests.support.clock import system_clock
from tests.support.machines.operators import inbound, trust_space
from tests.support.machines.perimeters import adopt
from tests.support.sessions.talking import call, dial
from tests.support.waiting import until


def events(folder: Path) -> list[dict[str, Any]]:
    """Every event of a closed journal, in the order of its lines."""
    lines = b"".join(path.read_bytes() for path in (folder / "trace").rglob("*.jsonl"))
    return [json.loads(line) for line in lines.split(b"\n") if line]


class Ticking:
    """A clock that is told how late it is."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "?"]),
            st.sampled_from(["refused", "session.opened"]),
            st.floats(0, 3),
        ),
        max_size=300,
    )
)
def test_each_event_is_told_or_counted_and_never_too_many(
    given_events: list[tuple[str, str, float]],
) -> None:
    clock, told = Ticking(), 0
    one, every = RateAllowance(10, 0.5), RateAllowance(20, 1)
    strangers = Strangers(clock, of_one=one, of_all=every)
    of: dict[str, int] = {}
    for address, event, later in given_events:
        clock.now += later
        if strangers.may_report(address, event):
            told += 1
            of[address] = of.get(address, 0) + 1
    assert told <= every.burst + clock.now * every.rate
    assert all(number <= one.burst + clock.now * one.rate for number in of.values())
    summed = strangers.sum_up()
    assert told + sum(int(str(facts["more"])) for facts in summed) == len(given_events)
    assert strangers.sum_up() == []


def test_one_stranger_does_not_silence_another_and_time_heals() -> None:
    clock = Ticking()
    strangers = Strangers(clock)
    told = sum(strangers.may_report("192.0.2.1", "refused", "SyntaxRefused") for _ in range(18_500))
    assert told == OF_ONE.burst
    assert strangers.may_report("192.0.2.2", "refused")
    (facts,) = strangers.sum_up()
    assert facts == {
        "of": "refused",
        "rule": "SyntaxRefused",
        "more": 18_300,
        "text": "and 18 300 more like it",
        "networks": 1,
        "most_from": ["192.0.2.1 (18300)"],
    }
    clock.now += 2 / OF_ONE.rate
    assert [strangers.may_report("192.0.2.1", "refused") for _ in range(3)] == [True, True, False]


@pytest.mark.integration
def test_many_networks_cost_bounded_memory_and_share_what_is_left() -> None:
    clock = Ticking()
    strangers = Strangers(clock)
    told = sum(strangers.may_report(f"192.{n >> 8}.{n & 255}.1", "refused") for n in range(65_536))
    assert told == OF_ALL.burst
    assert len(strangers._networks) == MAX_NETWORKS
    (facts,) = strangers.sum_up()
    assert facts["more"] == 65_536 - OF_ALL.burst
    assert len(str(facts)) < 500
    clock.now += OF_ONE.burst / OF_ONE.rate
    strangers.sum_up()
    assert strangers._networks == {}


def test_a_peer_uses_nothing_up() -> None:
    strangers = Strangers(Ticking())
    for _ in range(10_000):
        assert strangers.may_report("192.0.2.1", "session.opened")
        strangers.is_known("192.0.2.1")


def test_long_texts_are_cut() -> None:
    assert shortened({"detail": "x" * 10_000, "size": 3}) == {
        "detail": "x" * MAX_TEXT + "…[cut]",
        "size": 3,
    }


async def test_a_flood_of_a_stranger_leaves_little_and_hides_no_peer(tmp_path: Path) -> None:
    # 95 kB/s of one stranger became 25 GB an hour of journal, and as much of log.
    limits, flood = SessionLimits(max_errors=1000), b"FLY " + b"x" * 400 + b"\r\n"
    with capture_logs() as logs:
        async with inbound(tmp_path, limits=limits) as server:
            for _ in range(20):
                stranger = await dial(server)
                stranger.writer.write(flood * 200)
                stranger.writer.write(b"QUIT\r\n")
                await stranger.reader.read()
                stranger.close()
            caller = await call(server)  # from the same address, after all that
            accepted = [await caller.send() for _ in range(3)]
            refusal = await caller.say("MAIL FROM:<dr@c.mssante.fr>")
            await caller.say("QUIT")
            caller.close()
            await until(lambda: not server.context.connection_counts.sessions)
            tell_of_strangers(server.context)
    found = events(tmp_path)
    session = refusal.rpartition("[session ")[2].removesuffix("]")
    assert [event["event"] for event in found if event.get("session") == session] == [
        *("session.opened", "tls.started", "accepted", "accepted", "accepted"),
        *("refused", "session.closed"),
    ]
    assert all(text.startswith("250 ") for text in accepted)
    of_strangers = [event for event in found if event.get("session") not in {session, None}]
    assert len(of_strangers) <= OF_ONE.burst + 60 * OF_ONE.rate
    sums = {event["of"]: event for event in found if event["event"] == "strangers.more"}
    assert sums["refused"]["more"] + len(of_strangers) > 4000
    assert sums["refused"]["text"].endswith(" more like it")
    logged = [entry for entry in logs if entry["event"] == "refused"]
    assert len(logged) <= OF_ONE.burst + 60 * OF_ONE.rate
    assert [entry["of"] for entry in logs if entry["event"] == "strangers.more"]
    assert sum(entry["event"] == "accepted" for entry in logs) == 3


async def test_a_peer_listed_after_its_handshake_loses_no_line(tmp_path: Path) -> None:
    space = trust_space()
    without_b = space.space.sign_list({"c.mssante.fr": space.operators["c"]})
    async with inbound(tmp_path, white_list=without_b) as server:
        caller = await call(server)
        assert (await caller.say("MAIL FROM:<dr@b.mssante.fr>")).startswith("554 5.7.1 ")
        while server.context.strangers.may_report("127.0.0.1", "refused"):
            pass  # others at its address use up the allowance of strangers
        adopt(tmp_path, space.white_list, space.trust, system_clock())
        server.context.trust_state.load()
        assert (await caller.send()).startswith("250 2.0.0 ")
        await caller.say("QUIT")
        caller.close()
        await until(lambda: not server.context.connection_counts.sessions)
    assert [event["event"] for event in events(tmp_path)] == [
        *("session.opened", "tls.started", "refused", "accepted", "session.closed"),
    ]
