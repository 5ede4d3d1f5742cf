"""Admission against an oracle that knows the list only as pairs (DOMAIN §3.2, §3.3).

For all facts and stages: accepted attempts are acceptable by the requirements, refused attempts
are not, and no peer gets past MAIL without a trusted and listed certificate.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from foundation.ins import PATIENT_DOMAIN
from relay.policy.admission import (
    AdmissionFacts,
    AdmissionPolicy,
    LocalUser,
    Peer,
    Stage,
    admit,
    admit_recipient,
    examine,
)
from relay.policy.header_from import HeaderFromPolicy
from relay.policy.patients import Counted
from relay.policy.recipient import Recipient, RecipientStatus
from relay.smtp.address import SmtpAddress
from relay.smtp.errors import Refused
from relay.smtp.headers import UNREADABLE, HeaderFacts
from tests.support.sessions.attempts import (
    DOMAINS,
    LIMIT,
    LISTED,
    PEERS,
    attempt,
    authors,
    certificate,
    local,
    peer,
    verdict,
    white_list,
)
from whitelist.pki.trust_store import ChainStatus

ORIGINS = st.one_of(
    st.builds(LocalUser, st.sampled_from(RecipientStatus)),
    st.sampled_from(PEERS).map(peer),
    st.builds(
        Peer,
        st.sampled_from(["", "TLSv1.2", "TLSv1.3"]),
        st.just("x"),
        st.one_of(st.none(), st.sampled_from(PEERS).map(certificate)),
        st.one_of(st.none(), st.sampled_from(ChainStatus).map(verdict)),
    ),
)
INS = "279035121518989"
ADDRESSES = st.builds(SmtpAddress, st.sampled_from(["dr", INS]), st.sampled_from(DOMAINS))
ATTEMPTS = st.builds(
    AdmissionFacts,
    ORIGINS,
    st.builds(
        AdmissionPolicy,
        st.just(LIMIT),
        st.sampled_from(HeaderFromPolicy),
        patient_max_bytes=st.just(LIMIT - 1),
        patient_max_counts=st.sampled_from(Counted),
    ),
    st.integers(0, 4).map(lambda n: white_list() if n else None),
    st.just("no list"),
    sender_stated=st.booleans(),
    sender=st.one_of(st.none(), ADDRESSES),
    size=st.one_of(
        st.none(), st.sampled_from([0, LIMIT - 1, LIMIT, LIMIT + 1, LIMIT * 14 // 10, LIMIT * 2])
    ),
    content=st.one_of(st.none(), st.sampled_from([LIMIT - 1, LIMIT])),
    report=st.booleans(),
    recipient=st.one_of(
        st.none(),
        st.builds(Recipient, ADDRESSES, st.sampled_from(RecipientStatus), st.booleans()),
    ),
    header=st.one_of(
        st.none(),
        st.builds(
            HeaderFacts,
            st.frozensets(st.sampled_from([*DOMAINS, UNREADABLE]), max_size=3),
            st.sampled_from([0, 100, 101]),
        ),
    ),
    to_patients=st.booleans(),
    # Fields of a named tuple are drawn, even those with a default.
    own_authors=st.just(()),
    list_final=st.just(True),
)
STAGES = st.sampled_from([stage for stage in map(Stage, range(1, 16)) if stage])

# A mailbox is full only for its senders; its owner may still send.
MAY_SEND = {RecipientStatus.ACTIVE, RecipientStatus.FULL}


def holds(name: str, domain: str) -> bool:
    return (domain, name) in LISTED


def name_of(a: AdmissionFacts) -> str | None:
    """The short name of a peer with a trusted certificate, by the pairs of the list."""
    if not isinstance(a.origin, Peer) or a.origin.certificate is None or a.origin.chain is None:
        return None
    if not a.origin.tls_version or a.origin.chain.status is not ChainStatus.TRUSTED:
        return None
    (name,) = [name for name in PEERS if certificate(name) == a.origin.certificate]
    return name if any(name == other for _, other in LISTED) else None


def acceptable(a: AdmissionFacts, stages: Stage) -> bool:
    """Whether these stages may pass, by the requirements and not by the rules."""
    ours = isinstance(a.origin, LocalUser)
    name = name_of(a)
    verdicts = [True]
    if Stage.PEER in stages:
        verdicts.append(a.white_list is not None and (ours or name is not None))
    if Stage.SENDER in stages and a.sender_stated and isinstance(a.origin, LocalUser):
        verdicts.append(a.origin.state in MAY_SEND)
    elif Stage.SENDER in stages and a.sender_stated and a.sender is not None and name:
        verdicts.append(a.white_list is None or holds(name, a.sender.domain))
    if stages & (Stage.SENDER | Stage.MESSAGE) and a.size is not None:
        report = a.report or a.header is None or (a.sender_stated and a.sender is None)
        verdicts.append(a.size <= (LIMIT * 1.4 if report else LIMIT))
        if a.to_patients:
            counted = a.policy.patient_max_counts is Counted.CONTENT and a.content is not None
            verdicts.append((a.content if counted else a.size) < LIMIT)  # type: ignore[operator]
    if Stage.RECIPIENT in stages and a.recipient is not None:
        on_the_list = any(domain == a.recipient.address.domain for domain, _ in LISTED)
        leaves = a.recipient.state is RecipientStatus.FOREIGN and ours
        address = a.recipient.address
        if leaves and address.domain == PATIENT_DOMAIN:
            verdicts.append(address.local == INS)
        report = a.report or (a.sender_stated and a.sender is None)  # DOMAIN §9.40
        verdicts.append(
            (
                a.recipient.state is RecipientStatus.ACTIVE
                and (report or not a.recipient.reports_only)
            )
            or (leaves and (a.white_list is None or on_the_list))
        )
    if Stage.MESSAGE in stages and a.header is not None:
        verdicts.append(a.header.received <= 100)
        if a.policy.header_from is HeaderFromPolicy.REFUSE:
            verdicts.append(all(may_write_as(a, name, d) for d in a.header.from_domains))
    return all(verdicts)


def may_write_as(a: AdmissionFacts, name: str | None, domain: str) -> bool:
    if isinstance(a.origin, LocalUser):
        return a.sender is not None and a.sender.domain == domain
    return name is None or a.white_list is None or holds(name, domain)


def asked(a: AdmissionFacts, stages: Stage) -> Refused | None:
    try:
        admit(a, stages)
    except Refused as refused:
        return refused
    return None


@pytest.mark.fuzz
@given(ATTEMPTS, STAGES)
@example(attempt(replace(peer(), chain=None)), Stage.PEER | Stage.SENDER)
@example(local(white_list=None, header=authors("evil.fr")), Stage.MESSAGE)
def test_what_is_accepted_is_acceptable(facts: AdmissionFacts, stages: Stage) -> None:
    refused = asked(facts, stages)
    failed = [finding for finding in examine(facts, stages) if not finding.passed]
    if refused is None:
        assert failed == []
        assert acceptable(facts, stages)
        return
    assert (refused.rule, refused.reply) == (failed[0].rule, failed[0].reply)
    if name_of(facts) or isinstance(facts.origin, LocalUser):
        assert not acceptable(facts, stages)


@pytest.mark.fuzz
@given(ATTEMPTS)
def test_nothing_is_accepted_at_mail_from_a_peer_without_a_trusted_listed_certificate(
    facts: AdmissionFacts,
) -> None:
    # DOMAIN §9.14-9.17, §9.13: the stages that the session asks at MAIL
    if asked(facts._replace(sender_stated=True), Stage.PEER | Stage.SENDER):
        return
    assert facts.white_list is not None
    if isinstance(facts.origin, Peer):
        name = name_of(facts)
        assert name is not None
        assert facts.sender is None or holds(name, facts.sender.domain)
    else:
        assert facts.origin.state in MAY_SEND


def said(decide: Callable[[], None]) -> tuple[str, str, str] | None:
    try:
        decide()
    except Refused as refused:
        return str(refused.reply), refused.rule, refused.detail
    return None


@given(ATTEMPTS)
def test_a_peers_recipient_alone_is_judged_as_with_all_the_facts(a: AdmissionFacts) -> None:
    recipient, origin = a.recipient, a.origin
    if recipient is None or isinstance(origin, LocalUser):
        return
    report = a.report or (a.sender_stated and a.sender is None)
    alone = said(lambda: admit_recipient(recipient, origin, a.white_list, report=report))
    assert alone == said(lambda: admit(a, Stage.RECIPIENT))


@given(ATTEMPTS)
def test_a_mailbox_that_is_open_to_all_is_refused_to_nobody(a: AdmissionFacts) -> None:
    # `relay.server.rcpt_pipeline` relies on this for hundreds of recipients at once.
    if a.recipient is not None:
        state = a.recipient.state
        refused = said(lambda: admit(a, Stage.RECIPIENT))
        to_all = state.open_to_all and not a.recipient.reports_only
        assert not (to_all and refused is not None and refused[1] == "recipient")
        assert state.open_to_all == (state is RecipientStatus.ACTIVE)
