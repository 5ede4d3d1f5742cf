"""Admission (DOMAIN §3.2, §3.3): every rule with its exact reply, their order, and the findings."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from relay.policy.admission import (
    AdmissionFacts,
    AdmissionPolicy,
    LocalUser,
    Peer,
    Stage,
    admit,
    examine,
)
from relay.policy.header_from import HeaderFromPolicy
from relay.policy.patients import Counted
from relay.policy.recipient import RecipientStatus
from relay.smtp.address import SmtpAddress
from relay.smtp.errors import Refused
from relay.smtp.headers import UNREADABLE, HeaderFacts
from tests.support.sessions.attempts import LIMIT, attempt, authors, local, peer, to
from whitelist.pki.trust_store import ChainStatus, ChainVerdict

INS = "279035121518989@patient.mssante.fr"
WRONG_KEY = (
    "What stands before @patient.mssante.fr is an INS whose last two digits, its key, are wrong"
)


def refusal(attempt: AdmissionFacts, stages: Stage = Stage.EVERY) -> tuple[str, str]:
    with pytest.raises(Refused) as caught:
        admit(attempt, stages)
    # The reply is the first refusal that examine shows.
    first = next(finding for finding in examine(attempt, stages) if not finding.passed)
    assert (first.rule, first.reply) == (caught.value.rule, caught.value.reply)
    assert first.evidence == caught.value.detail
    return caught.value.rule, str(caught.value.reply)


REFUSALS: dict[str, tuple[AdmissionFacts, str, str]] = {
    "without TLS (DOMAIN §9.14)": (
        attempt(Peer()),
        "tls",
        "530 5.7.0 Must issue a STARTTLS command first",
    ),
    "a certificate but no TLS": (
        attempt(replace(peer(), tls_version="")),
        "tls",
        "530 5.7.0 Must issue a STARTTLS command first",
    ),
    "without a list (DOMAIN §9.13)": (
        attempt(white_list=None, list_problem="stale"),
        "list",
        "451 4.7.1 National white list unavailable here, try again later",
    ),
    "without a list, our own user": (
        local(white_list=None),
        "list",
        "451 4.7.1 National white list unavailable here, try again later",
    ),
    "no certificate (DOMAIN §9.15)": (
        attempt(Peer("TLSv1.3", "x")),
        "certificate",
        "554 5.7.1 No client certificate presented; an IGC-Sante one is required",
    ),
    "an unreadable certificate": (
        attempt(Peer("TLSv1.3", "x", None, ChainVerdict(ChainStatus.UNTRUSTED, "no name"))),
        "certificate",
        "554 5.7.1 Client certificate refused: its names cannot be read",
    ),
    "a foreign chain (DOMAIN §9.15, §2.4 cert-non-igc)": (
        attempt(peer(status=ChainStatus.UNTRUSTED)),
        "chain",
        "554 5.7.1 Client certificate refused: untrusted",
    ),
    "an expired certificate (DOMAIN §2.4 cert-expire)": (
        attempt(peer(status=ChainStatus.EXPIRED)),
        "chain",
        "554 5.7.1 Client certificate refused: expired",
    ),
    "a certificate of the future": (
        attempt(peer(status=ChainStatus.NOT_YET_VALID)),
        "chain",
        "554 5.7.1 Client certificate refused: not-yet-valid",
    ),
    "no revocation list in date (DOMAIN §9.62): put off, never refused for good": (
        attempt(peer(status=ChainStatus.NO_CRL)),
        "chain",
        "451 4.7.1 Revocation lists unavailable here, try again later",
    ),
    "a chain that nobody judged": (
        attempt(replace(peer(), chain=None)),
        "chain",
        "554 5.7.1 Client certificate refused: untrusted",
    ),
    "a name off the list (DOMAIN §9.16)": (
        attempt(peer("intruder")),
        "listed",
        "554 5.7.1 Certificate name is not on the national white list",
    ),
    "a name off the list, null sender": (
        attempt(peer("intruder"), sender=None),
        "listed",
        "554 5.7.1 Certificate name is not on the national white list",
    ),
    "another's domain (DOMAIN §9.17, §2.4 cert-no-match)": (
        attempt(peer("c")),
        "sender",
        "550 5.7.1 Sender domain b.mssante.fr is not listed with your certificate",
    ),
    "a domain off the list": (
        attempt(sender=SmtpAddress("dr", "evil.fr")),
        "sender",
        "550 5.7.1 Sender domain evil.fr is not listed with your certificate",
    ),
    "a domain below the peer's (DOMAIN §9.11)": (
        attempt(sender=SmtpAddress("dr", "sub.b.mssante.fr")),
        "sender",
        "550 5.7.1 Sender domain sub.b.mssante.fr is not listed with your certificate",
    ),
    "a domain above the peer's (DOMAIN §9.11)": (
        attempt(peer("c"), sender=SmtpAddress("dr", "b.mssante.fr")),
        "sender",
        "550 5.7.1 Sender domain b.mssante.fr is not listed with your certificate",
    ),
    "our own domain, from outside": (
        attempt(sender=SmtpAddress("claire.martin", "a.mssante.fr")),
        "sender",
        "550 5.7.1 Sender domain a.mssante.fr is not listed with your certificate",
    ),
    "a suspended user of ours": (
        local()._replace(origin=LocalUser(RecipientStatus.SUSPENDED)),
        "sender",
        "550 5.7.1 Sender mailbox is suspended",
    ),
    "a closed user of ours": (
        local()._replace(origin=LocalUser(RecipientStatus.CLOSED)),
        "sender",
        "550 5.7.1 Sender mailbox is closed",
    ),
    "an unknown user of ours": (
        local()._replace(origin=LocalUser(RecipientStatus.UNKNOWN)),
        "sender",
        "550 5.7.1 Sender mailbox is unknown",
    ),
    "a stranger who says he is a user of ours": (
        local()._replace(origin=LocalUser(RecipientStatus.FOREIGN)),
        "sender",
        "550 5.7.1 Sender mailbox is foreign",
    ),
    "too big (DOMAIN §9.22)": (
        attempt(size=LIMIT + 1),
        "size",
        "552 5.3.4 Message over the limit of 1000 octets",
    ),
    "too big, our own user": (
        local(size=LIMIT + 1),
        "size",
        "552 5.3.4 Message over the limit of 1000 octets",
    ),
    "no such mailbox (DOMAIN §9.19)": (
        attempt(recipient=to(RecipientStatus.UNKNOWN)),
        "recipient",
        "550 5.1.1 No such mailbox here",
    ),
    "a closed mailbox (DOMAIN §9.19)": (
        attempt(recipient=to(RecipientStatus.CLOSED)),
        "recipient",
        "550 5.2.1 Mailbox closed",
    ),
    "a suspended mailbox": (
        attempt(recipient=to(RecipientStatus.SUSPENDED)),
        "recipient",
        "450 4.2.1 Mailbox suspended, try again later",
    ),
    "relaying to a listed domain (DOMAIN §9.19)": (
        attempt(recipient=to(RecipientStatus.FOREIGN, "x@clinique.mssante.fr")),
        "recipient",
        "550 5.7.1 Relaying denied: clinique.mssante.fr is not served here",
    ),
    "relaying to the internet (DOMAIN §9.19)": (
        attempt(recipient=to(RecipientStatus.FOREIGN, "x@gmail.com")),
        "recipient",
        "550 5.7.1 Relaying denied: gmail.com is not served here",
    ),
    "our user to the internet (DOMAIN §9.26)": (
        local(recipient=to(RecipientStatus.FOREIGN, "x@gmail.com")),
        "recipient",
        "550 5.7.1 gmail.com is not on the national white list",
    ),
    "our user to a domain below a listed one (DOMAIN §9.11)": (
        local(recipient=to(RecipientStatus.FOREIGN, "x@x.b.mssante.fr")),
        "recipient",
        "550 5.7.1 x.b.mssante.fr is not on the national white list",
    ),
    "our user to nobody of ours": (
        local(recipient=to(RecipientStatus.UNKNOWN)),
        "recipient",
        "550 5.1.1 No such mailbox here",
    ),
    "our user to what is no patient (DOMAIN §9.30)": (
        local(recipient=to(RecipientStatus.FOREIGN, "jean.dupont@patient.mssante.fr")),
        "patient",
        "553 5.1.3 What stands before @patient.mssante.fr is not an INS of 15 characters",
    ),
    "our user to a patient whose INS is wrong (DOMAIN §9.30)": (
        local(recipient=to(RecipientStatus.FOREIGN, "279035121518988@patient.mssante.fr")),
        "patient",
        f"553 5.1.3 {WRONG_KEY}",
    ),
    "our user to a patient at length (DOMAIN §7.4)": (
        local(policy=AdmissionPolicy(LIMIT, patient_max_bytes=LIMIT - 1), to_patients=True),
        "size",
        f"552 5.3.4 Message over the limit of {LIMIT - 1} octets of content to patient.mssante.fr",
    ),
    "our user to a patient at length on the wire, which counts": (
        local(
            policy=AdmissionPolicy(
                LIMIT, patient_max_bytes=LIMIT - 1, patient_max_counts=Counted.WIRE
            ),
            to_patients=True,
            content=1,
        ),
        "size",
        f"552 5.3.4 Message over the limit of {LIMIT - 1} octets to patient.mssante.fr",
    ),
    "a report too big (DOMAIN U5)": (
        attempt(size=LIMIT * 14 // 10 + 1, report=True),
        "size",
        "552 5.3.4 Message over the limit of 1400 octets",
    ),
    "too big a size declared, whatever the header will say": (
        attempt(size=LIMIT * 14 // 10 + 1, header=None),
        "size",
        "552 5.3.4 Message over the limit of 1400 octets",
    ),
    "a loop": (
        attempt(header=HeaderFacts(frozenset({"b.mssante.fr"}), 101)),
        "loop",
        "554 5.4.6 Routing loop: over 100 Received fields",
    ),
    "another's author (DOMAIN §9.18)": (
        attempt(header=authors("b.mssante.fr", "sub.b.mssante.fr")),
        "header-from",
        "550 5.7.1 Author domain sub.b.mssante.fr is not listed with your certificate",
    ),
    "the first of two other authors": (
        attempt(header=authors("evil.fr", "a.fr")),
        "header-from",
        "550 5.7.1 Author domain a.fr is not listed with your certificate",
    ),
    "an author that cannot be told": (
        attempt(header=authors("b.mssante.fr", UNREADABLE)),
        "header-from",
        "550 5.7.1 Author domain (unreadable) is not listed with your certificate",
    ),
    "another's author in a notification": (
        attempt(sender=None, header=authors("evil.fr")),
        "header-from",
        "550 5.7.1 Author domain evil.fr is not listed with your certificate",
    ),
    "our user as another's author": (
        local(header=authors("b.mssante.fr")),
        "header-from",
        "550 5.7.1 Author domain b.mssante.fr is not that of your address",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refused(case: str) -> None:
    facts, rule, reply = REFUSALS[case]
    assert refusal(facts) == (rule, reply)


BY_THE_LIST = (
    "a name off the list (DOMAIN §9.16)",
    "a name off the list, null sender",
    "another's domain (DOMAIN §9.17, §2.4 cert-no-match)",
    "a domain off the list",
    "a domain below the peer's (DOMAIN §9.11)",
    "a domain above the peer's (DOMAIN §9.11)",
    "our own domain, from outside",
    "our user to the internet (DOMAIN §9.26)",
    "our user to a domain below a listed one (DOMAIN §9.11)",
    "another's author (DOMAIN §9.18)",
    "the first of two other authors",
    "another's author in a notification",
)


@pytest.mark.parametrize("case", REFUSALS)
def test_by_a_list_that_may_be_old_nobody_is_refused_for_good(case: str) -> None:
    # Another machine's list may differ; a refusal that depends on no list stays as it is.
    facts, rule, reply = REFUSALS[case]
    found, said = refusal(facts._replace(list_final=False))
    assert found == rule
    if case in BY_THE_LIST:
        assert said == "451 4.7.1 National white list here may be out of date, try again later"
        first = next(one for one in examine(facts._replace(list_final=False)) if not one.passed)
        assert reply in first.evidence
    else:
        assert said == reply


def test_nor_is_an_author_of_ours() -> None:
    facts = attempt(header=authors("a.mssante.fr"), own_authors=("a.mssante.fr",), list_final=False)
    assert refusal(facts) == (
        "own-header-from",
        "451 4.7.1 National white list here may be out of date, try again later",
    )


ACCEPTED: dict[str, AdmissionFacts] = {
    "the right domain (DOMAIN §9.17)": attempt(),
    "the other name of the domain (DOMAIN §9.20)": attempt(peer("b2")),
    "the other domain of the name (DOMAIN §9.20)": attempt(
        sender=SmtpAddress("dr", "clinique.mssante.fr")
    ),
    "the domain in capitals": attempt(sender=SmtpAddress("dr", "B.MSSante.FR")),
    "a domain outside of mssante.fr (DOMAIN §9.11)": attempt(
        peer("c"), sender=SmtpAddress("dr", "mss.example.org"), header=authors("mss.example.org")
    ),
    "the null sender (DOMAIN §9.17)": attempt(sender=None),
    "the null sender of another listed peer": attempt(
        peer("c"), sender=None, header=authors("sub.b.mssante.fr")
    ),
    "authors in both domains of the name": attempt(
        header=authors("b.mssante.fr", "clinique.mssante.fr")
    ),
    "no author": attempt(header=authors()),
    "an empty message": attempt(size=0),
    "a report on a large message (DOMAIN U5)": attempt(size=LIMIT * 14 // 10, report=True),
    "whatever comes with the null reverse-path": attempt(size=LIMIT + 1, sender=None),
    "a size declared that a report may have": attempt(size=LIMIT * 14 // 10, header=None),
    "our user to a patient, long on the wire alone (DOMAIN §7.5)": local(
        policy=AdmissionPolicy(LIMIT, patient_max_bytes=LIMIT - 1),
        to_patients=True,
        content=LIMIT - 1,
    ),
    "our user to a listed domain (DOMAIN §9.26)": local(),
    "our user to a listed domain in capitals": local(
        recipient=to(RecipientStatus.FOREIGN, "x@B.MSSANTE.FR")
    ),
    "our user to a patient (DOMAIN §1.5)": local(
        recipient=to(RecipientStatus.FOREIGN, INS), to_patients=True
    ),
    "our user to the national test mailbox (DOMAIN §1.2)": local(
        recipient=to(RecipientStatus.FOREIGN, "reponse.automatique-test@patient.mssante.fr")
    ),
    "our user to a patient whose key is not looked at (DOMAIN §1.5)": local(
        policy=AdmissionPolicy(LIMIT, patient_ins_key=False),
        recipient=to(RecipientStatus.FOREIGN, "279035121518988@patient.mssante.fr"),
    ),
    "our user at length to others than patients": local(
        policy=AdmissionPolicy(LIMIT, patient_max_bytes=LIMIT - 1)
    ),
    "a patient's own operator, at any address": local(
        recipient=to(RecipientStatus.ACTIVE, "jean.dupont@patient.mssante.fr")
    ),
    "our user to a colleague": local(recipient=to(RecipientStatus.ACTIVE)),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted(case: str) -> None:
    facts = ACCEPTED[case]
    admit(facts, Stage.EVERY)
    assert all(finding.passed for finding in examine(facts))


@pytest.mark.parametrize("policy", [HeaderFromPolicy.TAG, HeaderFromPolicy.OFF])
@pytest.mark.parametrize("make", [attempt, local])
def test_other_policies_let_another_author_pass(
    policy: HeaderFromPolicy, make: Callable[..., AdmissionFacts]
) -> None:
    facts = make(policy=AdmissionPolicy(LIMIT, policy), header=authors("evil.fr", UNREADABLE))
    admit(facts, Stage.EVERY)
    found = [finding for finding in examine(facts) if finding.rule == "header-from"]
    if policy is HeaderFromPolicy.OFF:
        assert found == []
    else:
        assert "evil.fr (tolerated" in found[0].evidence


def test_replies_are_fit_for_a_peer() -> None:
    for facts, _, _ in REFUSALS.values():
        for finding in examine(facts):
            if finding.reply is not None:
                assert len(str(finding.reply)) <= 450  # RFC 5321 §4.5.3.1.5, less the session's id
                assert str(finding.reply).isascii()
                assert str(finding.reply.code)[0] == finding.reply.enhanced[0]
