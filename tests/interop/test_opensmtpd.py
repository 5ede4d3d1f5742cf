"""OpenSMTPD as the other operator: it hands mail over with its certificate.

Its client knows neither BDAT nor pipelining; it sends the recipients of a message one by one.
"""

import re
from pathlib import Path

import pytest

from tests.support.machines.daemon import lay_out, served
from tests.support.peers.opensmtpd import missing, opensmtpd
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

# OpenSMTPD adds these fields to a message without them.
_LETTER = b"Date: Tue, 24 Nov 2026 12:00:00 +0100\r\nMessage-ID: <1@b.mssante.fr>\r\n" + UNTOUCHABLE


def test_opensmtpd_delivers(tmp_path: Path) -> None:
    # DOMAIN §9.14-§9.17, §9.23, §9.24
    a = lay_out(tmp_path / "a", "a", workers=1)
    with served(a), opensmtpd("b", a.port) as peer:
        hand_over(peer.port, [MARTIN, CARDIOLOGY, NOBODY], _LETTER)
        until_now(lambda: peer.log().count(" mta delivery ") == 3)
        log = peer.log()
    (entry,) = a.entries(MARTIN)
    (other,) = a.entries(CARDIOLOGY)
    assert entry.message.id == other.message.id  # one transaction for both
    assert fields_on_top(a.body(entry), _LETTER) == {b"received"}
    assert entry.message.sender == DURAND
    assert entry.message.peer.startswith("CN=smtp.b.mssante.fr,")
    assert re.search(
        r"tls TLS_\w+\s+\(TLSv1\.3; peer CN=smtp\.b\.mssante\.fr,", entry.message.trace
    )
    assert 'mta cert-check result="valid"' in log
    for recipient in (MARTIN, CARDIOLOGY):
        said = f'to=<{recipient}> .* stat="250 2.0.0 Accepted as {entry.message.id}"'
        assert re.search(said, log), log
    assert re.search(rf'to=<{NOBODY}> .* stat="550 5\.1\.1 ', log), log


def test_an_opensmtpd_that_is_not_on_the_list_is_turned_away(tmp_path: Path) -> None:
    # DOMAIN §9.16
    a = lay_out(tmp_path / "a", "a", workers=1)
    with served(a), opensmtpd("intruder", a.port) as peer:
        hand_over(peer.port, [MARTIN], _LETTER)
        until_now(lambda: " mta delivery " in peer.log())
        log = peer.log()
        assert 'result="PermFail"' in log
        assert refusing_session(log, a)
    assert a.entries(MARTIN) == []
