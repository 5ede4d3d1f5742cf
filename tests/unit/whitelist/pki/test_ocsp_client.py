"""OCSP if a revocation list is missing, with a real responder (RFC 6960; DOMAIN §9.62)."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from mssante_operator.setup.testbed.ca import Hierarchy
from mssante_operator.setup.testbed.certificate_profile import (
    Lifetime,
    RevocationAddresses,
    Subject,
)
from mssante_operator.setup.testbed.credential import Credential
from tests.support.lists.hierarchy import NOW, crl, hierarchy, signed_list, spare_key, trust
from tests.support.lists.ocsp_responder import Responder, ocsp_answer, responding
from tests.support.machines.perimeters import trust_state
from tests.support.waiting import until
from whitelist.pki.crl import RevocationList, RevocationPolicy
from whitelist.pki.ocsp_client import FAILURE_HOLDS, OcspClient
from whitelist.pki.trust_store import ChainStatus, ChainVerdict, TrustStore

DAY = timedelta(days=1)
GOOD, REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED
UNKNOWN = ocsp.OCSPCertStatus.UNKNOWN
ROOT_LIST = RevocationList.read(crl(hierarchy().root))
Answer = Callable[[], bytes | None]


def store(*lists: RevocationList, policy: RevocationPolicy = RevocationPolicy.REFUSE) -> TrustStore:
    """The test authorities with these lists."""
    return replace(trust(), crls=lists, revocation=policy)


LACKING = store(ROOT_LIST)
"""The root's list is there, the intermediate's is not."""


def peer(*urls: str, issuer: Hierarchy | None = None, name: str = "smtp.b.mssante.fr") -> bytes:
    """A server's certificate, DER; `urls` are the responders in it, which are never asked."""
    subject = Subject(name, "1750000001", "CHU DE TEST", "Paris (75)")
    issued = (issuer or hierarchy()).issue_server(
        subject,
        [name],
        Lifetime.of_leaf(NOW),
        key=spare_key(),
        revocation=RevocationAddresses(ocsp=urls),
    )
    return issued.certificate.public_bytes(Encoding.DER)


def says(
    der: bytes,
    status: ocsp.OCSPCertStatus,
    signer: Credential | None = None,
    next_update: datetime | None = NOW + DAY,
) -> Answer:
    intermediate = hierarchy().intermediate
    answer = ocsp_answer(
        read(der),
        intermediate.certificate,
        signer or intermediate,
        NOW,
        status,
        next_update=next_update,
    )
    return lambda: answer


def read(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


class Clock:
    """A clock set by the test."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def responder() -> Iterator[Responder]:
    with responding() as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def asker(clock: Clock, responder: Responder) -> OcspClient:
    return OcspClient(clock, [responder.url])


async def weigh(asker: OcspClient, der: bytes, held: TrustStore = LACKING) -> ChainVerdict:
    return await asker.apply(der, held.verify(read(der), NOW), held)


async def at_once(asker: OcspClient, der: bytes) -> ChainVerdict:
    """Weigh without any wait: the timeout is over at the first one."""
    async with asyncio.timeout(0):
        return await weigh(asker, der)


async def test_good_stands_for_the_list(responder: Responder, asker: OcspClient) -> None:
    der = peer()
    responder.answer = says(der, GOOD)
    assert LACKING.verify(read(der), NOW).status is ChainStatus.NO_CRL
    verdict = await weigh(asker, der)
    assert verdict.status is ChainStatus.TRUSTED
    assert responder.url in verdict.detail
    assert f"until {(NOW + DAY).isoformat()}" in verdict.detail
    (question,) = responder.questions
    assert question.serial_number == read(der).serial_number


async def test_revoked_is_refused(responder: Responder, asker: OcspClient) -> None:
    der = peer()
    responder.answer = says(der, REVOKED)
    verdict = await weigh(asker, der)
    assert verdict.status is ChainStatus.REVOKED
    assert f"{responder.url}: revoked: CN=smtp.b.mssante.fr," in verdict.detail


def failures(der: bytes) -> dict[str, Answer]:
    return {
        "unknown:": says(der, UNKNOWN),
        "unreadable:": lambda: b"<html>",
        "wrong-signer:": says(der, GOOD, hierarchy().root),
        "expired:": says(der, GOOD, next_update=NOW - timedelta(hours=1)),
        "answers 503": lambda: None,
    }


@pytest.mark.parametrize("word", failures(peer()))
async def test_anything_else_leaves_the_verdict(
    responder: Responder, asker: OcspClient, word: str
) -> None:
    der = peer()
    responder.answer = failures(der)[word]
    verdict = await weigh(asker, der)
    assert verdict.status is ChainStatus.NO_CRL
    lacking, _, why = verdict.detail.partition("; OCSP: ")
    assert lacking == LACKING.verify(read(der), NOW).detail
    assert why.startswith(f"{responder.url}: {word}")


async def test_a_failure_is_remembered_for_a_minute(
    responder: Responder, asker: OcspClient, clock: Clock
) -> None:
    der, other = peer(), peer(name="smtp.c.mssante.fr")
    assert (await weigh(asker, der)).status is ChainStatus.NO_CRL
    assert len(responder.questions) == 1
    responder.answer = says(der, GOOD)
    clock.now += FAILURE_HOLDS - timedelta.resolution
    assert (await at_once(asker, der)).status is ChainStatus.NO_CRL
    assert "answers 503" in (await weigh(asker, other)).detail  # the responder's fault
    assert len(responder.questions) == 1
    clock.now += timedelta.resolution
    assert (await weigh(asker, der)).status is ChainStatus.TRUSTED


async def test_a_failure_noted_by_a_clock_that_was_ahead_is_forgotten(
    responder: Responder, asker: OcspClient, clock: Clock
) -> None:
    der = peer(responder.url)
    responder.answer = lambda: None
    clock.now = NOW + timedelta(hours=1)
    assert (await weigh(asker, der)).status is ChainStatus.NO_CRL
    clock.now = NOW
    responder.answer = says(der, GOOD)
    assert (await weigh(asker, der)).status is ChainStatus.TRUSTED


async def test_nobody_waits_twice_for_a_silent_responder(
    responder: Responder, clock: Clock
) -> None:
    asker, der = OcspClient(clock, [responder.url], timeout=0.2), peer()
    responder.open.clear()
    verdict = await weigh(asker, der)
    assert verdict.status is ChainStatus.NO_CRL
    assert "OCSP: " in verdict.detail
    assert (await at_once(asker, der)).status is ChainStatus.NO_CRL
    await until(lambda: len(asyncio.all_tasks()) == 1)  # the question itself has ended too
    assert len(responder.questions) == 1


async def test_an_answer_holds_until_it_is_over(
    responder: Responder, asker: OcspClient, clock: Clock
) -> None:
    der = peer()
    responder.answer = says(der, GOOD)
    await weigh(asker, der)
    clock.now += timedelta(hours=23)
    assert (await at_once(asker, der)).trusted
    assert len(responder.questions) == 1
    clock.now += timedelta(hours=1)
    assert (await weigh(asker, der)).status is ChainStatus.NO_CRL
    assert len(responder.questions) == 2


async def test_many_sessions_of_one_peer_ask_once(responder: Responder, asker: OcspClient) -> None:
    der = peer()
    responder.answer = says(der, GOOD)
    responder.open.clear()
    impatient = asyncio.create_task(weigh(asker, der))
    waiting = [asyncio.create_task(weigh(asker, der)) for _ in range(5)]
    await until(lambda: bool(responder.questions))
    impatient.cancel()  # the first asker hangs up; the answer still comes
    with suppress(asyncio.CancelledError):
        await impatient
    responder.open.set()
    assert all(verdict.trusted for verdict in await asyncio.gather(*waiting))
    assert len(responder.questions) == 1


@pytest.mark.parametrize("word", ["unknown:", "answers 503"])
async def test_the_next_responder_is_asked_where_the_first_fails(
    responder: Responder, word: str
) -> None:
    with responding() as first:
        der = peer()
        asker = OcspClient(lambda: NOW, [first.url, responder.url])
        first.answer = failures(der)[word]
        responder.answer = says(der, GOOD)
        assert (await weigh(asker, der)).trusted
        assert len(first.questions) == 1


async def test_unknown_is_asked_again_after_a_minute(
    responder: Responder, asker: OcspClient, clock: Clock
) -> None:
    # A responder may learn of a new certificate long before its nextUpdate.
    der = peer()
    responder.answer = says(der, UNKNOWN)
    assert not (await weigh(asker, der)).trusted
    responder.answer = says(der, GOOD)
    assert not (await at_once(asker, der)).trusted
    clock.now += FAILURE_HOLDS
    assert (await weigh(asker, der)).trusted


async def test_of_two_failures_the_shorter_decides(responder: Responder, clock: Clock) -> None:
    with responding() as second:
        asker = OcspClient(clock, [responder.url, second.url])
        other, der = peer(name="smtp.c.mssante.fr"), peer()
        responder.answer = says(other, UNKNOWN)
        await weigh(asker, other)  # the second is silent, and that is known for a minute
        clock.now += timedelta(seconds=30)
        second.answer = says(der, GOOD)
        assert not (await weigh(asker, der)).trusted
        clock.now += timedelta(seconds=30)
        assert (await weigh(asker, der)).trusted


async def test_no_more_is_kept_than_told(responder: Responder, clock: Clock) -> None:
    asker, der = OcspClient(clock, [responder.url], size=1), peer()
    responder.answer = says(der, GOOD)
    await weigh(asker, der)
    await weigh(asker, peer())
    await weigh(asker, der)
    assert len(responder.questions) == 3


async def test_a_lacking_list_of_the_root_is_not_papered_over(
    responder: Responder, asker: OcspClient
) -> None:
    der = peer()
    responder.answer = says(der, GOOD)
    verdict = await weigh(asker, der, store())
    assert verdict.status is ChainStatus.NO_CRL
    assert "OCSP was not asked: no revocation list of CN=TEST AC RACINE" in verdict.detail
    assert responder.questions == []
    # Nor does a cached answer outlive the root's list.
    assert (await weigh(asker, der)).trusted
    assert (await weigh(asker, der, store())).status is ChainStatus.NO_CRL


async def test_lists_are_never_overruled(responder: Responder, asker: OcspClient) -> None:
    der = peer()
    responder.answer = says(der, GOOD)
    assert (await weigh(asker, der)).trusted  # the answer is cached, then the list comes
    named = Credential(read(der), spare_key())
    for days in (8, 0.5):  # in date, and no longer
        listed = RevocationList.read(crl(hierarchy().intermediate, [named], days=days))
        verdict = await weigh(asker, der, store(ROOT_LIST, listed))
        assert verdict.status is ChainStatus.REVOKED
    assert len(responder.questions) == 1
    clean = store(ROOT_LIST, RevocationList.read(crl(hierarchy().intermediate)))
    responder.answer = says(der, REVOKED)
    fresh = OcspClient(lambda: NOW, [responder.url])
    assert (await weigh(fresh, der, clean)).trusted
    assert len(responder.questions) == 1  # no list is missing, no question


@pytest.mark.parametrize(
    ("status", "expected", "alarm"),
    [
        (GOOD, ChainStatus.TRUSTED, False),
        (REVOKED, ChainStatus.REVOKED, False),
        (UNKNOWN, ChainStatus.TRUSTED, True),
    ],
)
async def test_where_lacking_lists_are_accepted(
    responder: Responder,
    asker: OcspClient,
    status: ocsp.OCSPCertStatus,
    expected: ChainStatus,
    *,
    alarm: bool,
) -> None:
    der = peer()
    responder.answer = says(der, status)
    verdict = await weigh(asker, der, store(ROOT_LIST, policy=RevocationPolicy.ACCEPT))
    assert verdict.status is expected
    assert bool(verdict.alarm) is alarm
    bare = await weigh(asker, der, store(policy=RevocationPolicy.ACCEPT))
    assert bare.status is expected
    assert ("RACINE" in bare.alarm) is (expected is ChainStatus.TRUSTED)


async def test_where_a_certificate_says_is_never_asked(responder: Responder) -> None:
    # A peer must not choose our connections (DOMAIN U1.3).
    with responding() as theirs:
        der = peer(theirs.url)
        theirs.answer = says(der, GOOD)
        asker = OcspClient(lambda: NOW, [responder.url])
        assert (await weigh(asker, der)).status is ChainStatus.NO_CRL
        assert theirs.questions == []
        assert len(responder.questions) == 1
    with pytest.raises(ValueError, match="no responder"):
        OcspClient(lambda: NOW, [])


async def test_who_is_issued_by_no_intermediate_is_not_asked_about(
    responder: Responder, asker: OcspClient
) -> None:
    root = hierarchy().root
    der = peer(issuer=Hierarchy(root, root))
    verdict = await weigh(asker, der, store())
    assert verdict.status is ChainStatus.NO_CRL
    assert "no configured intermediate is its issuer" in verdict.detail
    stranger = peer(issuer=Hierarchy.create(NOW))
    assert (await weigh(asker, stranger)).status is ChainStatus.UNTRUSTED
    assert responder.questions == []


async def test_off_never_asks(responder: Responder, tmp_path: Path) -> None:
    der = peer()
    responder.answer = says(der, GOOD)
    lists = [crl(hierarchy().root)]
    strict = store()
    off = trust_state(tmp_path / "off", signed_list([]), strict, lambda: NOW, crls=lists)
    found = await off.identify_peer(der, "TLSv1.3", "X")
    assert found == off.identify(der, "TLSv1.3", "X")
    assert responder.questions == []
    asker = OcspClient(lambda: NOW, [responder.url])
    on = trust_state(tmp_path / "on", b"", strict, lambda: NOW, crls=lists, ocsp=asker)
    chain = (await on.identify_peer(der, "TLSv1.3", "X")).chain
    assert chain is not None
    assert chain.trusted
    for octets in (None, b"\x30\x00"):
        assert await on.identify_peer(octets, "TLSv1.3", "X") == on.identify(octets, "TLSv1.3", "X")
