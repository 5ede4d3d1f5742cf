"""Exim as the other operator: it delivers with its certificate, pipelined, by BDAT or DATA."""

import re
from pathlib import Path

import pytest

from tests.support.machines.daemon import lay_out, served
from tests.support.peers.exim import exim, missing
from tests.support.sessions.exchange import (
    CARDIOLOGY,
    DURAND,
    MARTIN,
    NOBODY,
    fields_on_top,
    hand_over,
    refusing_session,
)
from tests.support.sessions.letters import UNTOUCHABLE
from tests.support.waiting import until_now

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

# In a line of its log, `L`: pipelined commands; `K`: message by BDAT.
_DELIVERED = re.compile(
    r" => claire\.martin@a\.mssante\.fr .* X=TLS1\.3:\S+ CV=yes "
    r"DN=\"[^\"]*CN=smtp\.a\.mssante\.fr\""
    r"(?P<flags>[ LK]*) C=\"250 2\.0\.0 Accepted as (?P<id>[0-9a-f]+)\""
)


@pytest.mark.parametrize("chunking", [True, False], ids=["bdat", "data"])
def test_exim_delivers(tmp_path: Path, chunking: bool) -> None:
    # DOMAIN §9.14-§9.17, §9.23, §9.24; RFC 2920, RFC 3030 §2
    a = lay_out(tmp_path / "a", "a", workers=1)
    with served(a), exim("b", a.port, chunking=chunking) as peer:
        hand_over(peer.port, [MARTIN, CARDIOLOGY, NOBODY], UNTOUCHABLE)
        until_now(lambda: "Completed" in peer.log())
        log = peer.log()
    (entry,) = a.entries(MARTIN)
    (other,) = a.entries(CARDIOLOGY)
    assert entry.message.id == other.message.id  # one transaction for both
    assert fields_on_top(a.body(entry), UNTOUCHABLE) == {b"received"}
    assert entry.message.sender == DURAND
    assert entry.message.peer.startswith("CN=smtp.b.mssante.fr,")
    assert "by smtp.a.mssante.fr with ESMTPS id " in entry.message.trace
    assert re.search(
        r"tls TLS_\w+\s+\(TLSv1\.3; peer CN=smtp\.b\.mssante\.fr,", entry.message.trace
    )
    assert re.search(r" \*\* nobody@a\.mssante\.fr .*: 550 5\.1\.1 ", log), log
    delivered = _DELIVERED.search(log)
    assert delivered is not None, log
    assert delivered["id"] == entry.message.id
    assert delivered["flags"].split() == (["L", "K"] if chunking else ["L"])


def test_an_exim_that_is_not_on_the_list_is_turned_away(tmp_path: Path) -> None:
    # DOMAIN §9.16
    a = lay_out(tmp_path / "a", "a", workers=1)
    with served(a), exim("intruder", a.port) as peer:
        hand_over(peer.port, [MARTIN], UNTOUCHABLE)
        until_now(lambda: "Completed" in peer.log())
        log = peer.log()
        assert f" ** {MARTIN} " in log
        assert refusing_session(log, a)
    assert a.entries(MARTIN) == []
