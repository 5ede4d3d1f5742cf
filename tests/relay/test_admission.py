"""Admission (DOMAIN §3.2, §3.3): every rule with its exact reply, their order, and no way around.

On a real list, signed and read back, with certificates of the test hierarchy judged by the real
trust store.  The property test at the end holds the rules against their own oracle, which knows the
list only as pairs.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import cache

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mssante_operator.testbed.credential import Credential
from relay.address import Address, parse_address
from relay.admission import (
    MAX_RECEIVED,
    RULES,
    Attempt,
    HeaderFromPolicy,
    LocalUser,
    MailboxState,
    Peer,
    Policy,
    Recipient,
    Refused,
    Stage,
    admit,
    examine,
)
from relay.headers import UNREADABLE, HeaderFacts
from tests.support.hierarchy import NOW, SIGNER, listed, server, signed_list, trust
from whitelist.loading import read_list
from whitelist.lookup import WhiteList
from whitelist.trust import CertificateFacts, ChainStatus, ChainVerdict

PEERS = ("b1", "b2", "c", "intruder")

# Which name speaks for which domain: several names for b.mssante.fr, several domains for b1, a
# domain below another that belongs to somebody else, and none for the intruder.
LISTED = {
    ("b.mssante.fr", "b1"),
    ("b.mssante.fr", "b2"),
    ("clinique.mssante.fr", "b1"),
    ("sub.b.mssante.fr", "c"),
    ("mss.example.org", "c"),
}
DOMAINS = sorted({domain for domain, _ in LISTED} | {"a.mssante.fr", "mssante.fr", "evil.fr"})

LIMIT = 1000
POLICY = Policy(LIMIT, HeaderFromPolicy.REFUSE)


@cache
def credential(name: str) -> Credential:
    return server(f"smtp.{name}.mssante.fr")


@cache
def certificate(name: str) -> CertificateFacts:
    return CertificateFacts.from_certificate(credential(name).certificate)


@cache
def white_list() -> WhiteList:
    entries = [listed(domain, str(certificate(name).subject)) for domain, name in sorted(LISTED)]
    return read_list(signed_list(entries), trust(), SIGNER, NOW)


@cache
def verdict(status: ChainStatus) -> ChainVerdict:
    """A chain that stands so, as the trust store says it."""
    late = timedelta(days=4 * 365)
    at = {ChainStatus.EXPIRED: NOW + late, ChainStatus.NOT_YET_VALID: NOW - late}.get(status, NOW)
    if status is ChainStatus.UNTRUSTED:
        return ChainVerdict(status, "self-signed certificate")
    found = trust().verify(credential("b1").certificate, at)
    assert found.status is status
    return found


def peer(name: str = "b1", status: ChainStatus = ChainStatus.TRUSTED) -> Peer:
    return Peer("TLSv1.3", "TLS_AES_256_GCM_SHA384", certificate(name), verdict(status))


def attempt(origin: Peer | LocalUser | None = None, **facts: object) -> Attempt:
    """An attempt of which every rule approves, but for these facts."""
    good = Attempt(
        origin or peer(),
        POLICY,
        white_list(),
        "",
        sender_stated=True,
        sender=Address("dr", "b.mssante.fr"),
        size=LIMIT,
        recipient=Recipient(Address("claire.martin", "a.mssante.fr"), MailboxState.ACTIVE),
        header=HeaderFacts(frozenset({"b.mssante.fr"}), MAX_RECEIVED),
    )
    return replace(good, **facts)  # type: ignore[arg-type]  # checked where it matters: at run time


LOCAL = LocalUser(MailboxState.ACTIVE)


def local(**facts: object) -> Attempt:
    """The same for one of our own users."""
    facts = {
        "sender": Address("claire.martin", "a.mssante.fr"),
        "header": HeaderFacts(frozenset({"a.mssante.fr"})),
        "recipient": Recipient(Address("dr", "b.mssante.fr"), MailboxState.FOREIGN),
    } | facts
    return attempt(LOCAL, **facts)


def to(state: MailboxState, address: str = "x@a.mssante.fr") -> Recipient:
    return Recipient(parse_address(address), state)


def authors(*domains: str) -> HeaderFacts:
    return HeaderFacts(frozenset(domains))


def refusal(attempt: Attempt, stages: Stage = Stage.EVERY) -> tuple[str, str]:
    with pytest.raises(Refused) as caught:
        admit(attempt, stages)
    # What is answered is what examine shows first.
    first = next(finding for finding in examine(attempt, stages) if not finding.passed)
    assert (first.rule, first.reply) == (caught.value.rule, caught.value.reply)
    assert first.evidence == caught.value.detail
    return caught.value.rule, str(caught.value.reply)


REFUSALS: dict[str, tuple[Attempt, str, str]] = {
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
        attempt(sender=Address("dr", "evil.fr")),
        "sender",
        "550 5.7.1 Sender domain evil.fr is not listed with your certificate",
    ),
    "a domain below the peer's (DOMAIN §9.11)": (
        attempt(sender=Address("dr", "sub.b.mssante.fr")),
        "sender",
        "550 5.7.1 Sender domain sub.b.mssante.fr is not listed with your certificate",
    ),
    "a domain above the peer's (DOMAIN §9.11)": (
        attempt(peer("c"), sender=Address("dr", "b.mssante.fr")),
        "sender",
        "550 5.7.1 Sender domain b.mssante.fr is not listed with your certificate",
    ),
    "our own domain, from outside": (
        attempt(sender=Address("claire.martin", "a.mssante.fr")),
        "sender",
        "550 5.7.1 Sender domain a.mssante.fr is not listed with your certificate",
    ),
    "a suspended user of ours": (
        replace(local(), origin=LocalUser(MailboxState.SUSPENDED)),
        "sender",
        "550 5.7.1 Sender mailbox is suspended",
    ),
    "a closed user of ours": (
        replace(local(), origin=LocalUser(MailboxState.CLOSED)),
        "sender",
        "550 5.7.1 Sender mailbox is closed",
    ),
    "an unknown user of ours": (
        replace(local(), origin=LocalUser(MailboxState.UNKNOWN)),
        "sender",
        "550 5.7.1 Sender mailbox is unknown",
    ),
    "a stranger who says he is a user of ours": (
        replace(local(), origin=LocalUser(MailboxState.FOREIGN)),
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
        attempt(recipient=to(MailboxState.UNKNOWN)),
        "recipient",
        "550 5.1.1 No such mailbox here",
    ),
    "a closed mailbox (DOMAIN §9.19)": (
        attempt(recipient=to(MailboxState.CLOSED)),
        "recipient",
        "550 5.2.1 Mailbox closed",
    ),
    "a suspended mailbox": (
        attempt(recipient=to(MailboxState.SUSPENDED)),
        "recipient",
        "450 4.2.1 Mailbox suspended, try again later",
    ),
    "relaying to a listed domain (DOMAIN §9.19)": (
        attempt(recipient=to(MailboxState.FOREIGN, "x@clinique.mssante.fr")),
        "recipient",
        "550 5.7.1 Relaying denied: clinique.mssante.fr is not served here",
    ),
    "relaying to the internet (DOMAIN §9.19)": (
        attempt(recipient=to(MailboxState.FOREIGN, "x@gmail.com")),
        "recipient",
        "550 5.7.1 Relaying denied: gmail.com is not served here",
    ),
    "our user to the internet (DOMAIN §9.26)": (
        local(recipient=to(MailboxState.FOREIGN, "x@gmail.com")),
        "recipient",
        "550 5.7.1 gmail.com is not on the national white list",
    ),
    "our user to a domain below a listed one (DOMAIN §9.11)": (
        local(recipient=to(MailboxState.FOREIGN, "x@x.b.mssante.fr")),
        "recipient",
        "550 5.7.1 x.b.mssante.fr is not on the national white list",
    ),
    "our user to nobody of ours": (
        local(recipient=to(MailboxState.UNKNOWN)),
        "recipient",
        "550 5.1.1 No such mailbox here",
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


ACCEPTED: dict[str, Attempt] = {
    "the right domain (DOMAIN §9.17)": attempt(),
    "the other name of the domain (DOMAIN §9.20)": attempt(peer("b2")),
    "the other domain of the name (DOMAIN §9.20)": attempt(
        sender=Address("dr", "clinique.mssante.fr")
    ),
    "the domain in capitals": attempt(sender=Address("dr", "B.MSSante.FR")),
    "a domain outside of mssante.fr (DOMAIN §9.11)": attempt(
        peer("c"), sender=Address("dr", "mss.example.org"), header=authors("mss.example.org")
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
    "our user to a listed domain (DOMAIN §9.26)": local(),
    "our user to a listed domain in capitals": local(
        recipient=to(MailboxState.FOREIGN, "x@B.MSSANTE.FR")
    ),
    "our user to a colleague": local(recipient=to(MailboxState.ACTIVE)),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted(case: str) -> None:
    facts = ACCEPTED[case]
    admit(facts, Stage.EVERY)
    assert all(finding.passed for finding in examine(facts))


@pytest.mark.parametrize("policy", [HeaderFromPolicy.TAG, HeaderFromPolicy.OFF])
@pytest.mark.parametrize("make", [attempt, local])
def test_other_policies_let_another_author_pass(
    policy: HeaderFromPolicy, make: Callable[..., Attempt]
) -> None:
    facts = make(policy=Policy(LIMIT, policy), header=authors("evil.fr", UNREADABLE))
    admit(facts, Stage.EVERY)
    found = [finding for finding in examine(facts) if finding.rule == "header-from"]
    if policy is HeaderFromPolicy.OFF:
        assert found == []
    else:
        assert "evil.fr (tolerated" in found[0].evidence


def test_the_default_policy_tags() -> None:
    assert Policy(1).header_from is HeaderFromPolicy.TAG


def test_the_first_rule_that_fails_answers() -> None:
    # DOMAIN §3.2, in order; a list that is missing comes right after TLS, since without it nothing
    # may be refused for good (§9.13).
    everything_wrong = attempt(
        Peer(),
        white_list=None,
        list_problem="stale",
        sender=Address("dr", "evil.fr"),
        size=LIMIT + 1,
        recipient=to(MailboxState.FOREIGN),
        header=HeaderFacts(frozenset({"evil.fr"}), 101),
    )
    repairs: list[tuple[str, dict[str, object]]] = [
        ("tls", {"origin": Peer("TLSv1.3", "x")}),
        ("list", {"white_list": white_list()}),
        ("certificate", {"origin": peer("intruder", ChainStatus.EXPIRED)}),
        ("chain", {"origin": peer("intruder")}),
        ("listed", {"origin": peer()}),
        ("sender", {"sender": Address("dr", "b.mssante.fr")}),
        ("size", {"size": LIMIT}),
        ("recipient", {"recipient": to(MailboxState.ACTIVE)}),
        ("loop", {"header": authors("evil.fr")}),
        ("header-from", {"header": authors("b.mssante.fr")}),
    ]
    now = everything_wrong
    for rule, repair in repairs:
        assert refusal(now)[0] == rule
        now = replace(now, **repair)  # type: ignore[arg-type]  # facts by name
    admit(now, Stage.EVERY)
    assert len(repairs) == len(RULES)


def test_examine_shows_every_finding_with_evidence() -> None:
    facts = attempt(
        peer("c", ChainStatus.EXPIRED),
        size=LIMIT + 1,
        recipient=to(MailboxState.CLOSED),
        header=HeaderFacts(frozenset({"evil.fr"}), 101),
    )
    findings = {finding.rule: finding for finding in examine(facts)}
    assert list(findings) == [
        *("tls", "list", "certificate", "chain", "listed"),
        *("sender", "size", "recipient", "loop", "header-from"),
    ]
    assert {rule for rule, finding in findings.items() if finding.passed} == {
        *("tls", "list", "certificate", "listed"),
    }
    b1, b2, c = (str(certificate(name).subject) for name in ("b1", "b2", "c"))
    assert findings["tls"].evidence == "TLSv1.3 TLS_AES_256_GCM_SHA384"
    assert findings["certificate"].evidence == f"{c} serial {certificate('c').serial:x}"
    assert "expired" in findings["chain"].evidence
    assert findings["listed"].evidence == f"{c}: 2 domains"
    assert findings["list"].evidence.endswith(", 4 domains")
    assert findings["sender"].evidence == (f"presented {c}, b.mssante.fr is listed with {b1}; {b2}")
    assert findings["size"].evidence == f"{LIMIT + 1} octets"
    assert findings["header-from"].evidence == "author domains of others: evil.fr"


def test_evidence_says_why_there_is_no_list() -> None:
    (finding,) = [
        f
        for f in examine(attempt(white_list=None, list_problem="past its age"))
        if f.rule == "list"
    ]
    assert finding.evidence == "past its age"


def test_facts_that_are_not_known_yet_decide_nothing() -> None:
    greeted = Attempt(peer(), POLICY, white_list())
    assert [finding.rule for finding in examine(greeted)] == [
        *("tls", "list", "certificate", "chain", "listed"),
    ]
    assert [finding.rule for finding in examine(Attempt(LOCAL, POLICY, white_list()))] == ["list"]


@pytest.mark.parametrize(
    ("stages", "rules"),
    [
        (Stage.PEER, ["tls", "list", "certificate", "chain", "listed"]),
        (Stage.SENDER, ["sender", "size"]),
        (Stage.RECIPIENT, ["recipient"]),
        (Stage.MESSAGE, ["size", "loop", "header-from"]),
        (Stage.SENDER | Stage.RECIPIENT, ["sender", "size", "recipient"]),
    ],
)
def test_each_stage_asks_its_own_rules(stages: Stage, rules: list[str]) -> None:
    assert [finding.rule for finding in examine(attempt(), stages)] == rules


def test_replies_are_fit_for_a_peer() -> None:
    for facts, _, _ in REFUSALS.values():
        for finding in examine(facts):
            if finding.reply is not None:
                assert len(str(finding.reply)) <= 450  # RFC 5321 §4.5.3.1.5, less the session's id
                assert str(finding.reply).isascii()
                assert str(finding.reply.code)[0] == finding.reply.enhanced[0]


ORIGINS = st.one_of(
    st.builds(LocalUser, st.sampled_from(MailboxState)),
    st.sampled_from(PEERS).map(peer),
    st.builds(
        Peer,
        st.sampled_from(["", "TLSv1.2", "TLSv1.3"]),
        st.just("x"),
        st.one_of(st.none(), st.sampled_from(PEERS).map(certificate)),
        st.one_of(st.none(), st.sampled_from(ChainStatus).map(verdict)),
    ),
)
ADDRESSES = st.builds(Address, st.just("dr"), st.sampled_from(DOMAINS))
ATTEMPTS = st.builds(
    Attempt,
    ORIGINS,
    st.builds(Policy, st.just(LIMIT), st.sampled_from(HeaderFromPolicy)),
    st.integers(0, 4).map(lambda n: white_list() if n else None),
    st.just("no list"),
    sender_stated=st.booleans(),
    sender=st.one_of(st.none(), ADDRESSES),
    size=st.one_of(st.none(), st.sampled_from([0, LIMIT, LIMIT + 1])),
    recipient=st.one_of(st.none(), st.builds(Recipient, ADDRESSES, st.sampled_from(MailboxState))),
    header=st.one_of(
        st.none(),
        st.builds(
            HeaderFacts,
            st.frozensets(st.sampled_from([*DOMAINS, UNREADABLE]), max_size=3),
            st.sampled_from([0, 100, 101]),
        ),
    ),
)
STAGES = st.sampled_from([stage for stage in map(Stage, range(1, 16)) if stage])


def holds(name: str, domain: str) -> bool:
    return (domain, name) in LISTED


def name_of(a: Attempt) -> str | None:
    """The short name of a peer whose certificate can be relied on, by the pairs of the list."""
    if not isinstance(a.origin, Peer) or a.origin.certificate is None or a.origin.chain is None:
        return None
    if not a.origin.tls_version or a.origin.chain.status is not ChainStatus.TRUSTED:
        return None
    (name,) = [name for name in PEERS if certificate(name) == a.origin.certificate]
    return name if any(name == other for _, other in LISTED) else None


def acceptable(a: Attempt, stages: Stage) -> bool:
    """Whether these stages may pass, told from the requirements and not from the rules."""
    ours = isinstance(a.origin, LocalUser)
    name = name_of(a)
    verdicts = [True]
    if Stage.PEER in stages:
        verdicts.append(a.white_list is not None and (ours or name is not None))
    if Stage.SENDER in stages and a.sender_stated and isinstance(a.origin, LocalUser):
        verdicts.append(a.origin.state is MailboxState.ACTIVE)
    elif Stage.SENDER in stages and a.sender_stated and a.sender is not None and name:
        verdicts.append(a.white_list is None or holds(name, a.sender.domain))
    if stages & (Stage.SENDER | Stage.MESSAGE) and a.size is not None:
        verdicts.append(a.size <= LIMIT)
    if Stage.RECIPIENT in stages and a.recipient is not None:
        on_the_list = any(domain == a.recipient.address.domain for domain, _ in LISTED)
        leaves = a.recipient.state is MailboxState.FOREIGN and ours
        verdicts.append(
            a.recipient.state is MailboxState.ACTIVE
            or (leaves and (a.white_list is None or on_the_list))
        )
    if Stage.MESSAGE in stages and a.header is not None:
        verdicts.append(a.header.received <= 100)
        if a.policy.header_from is HeaderFromPolicy.REFUSE:
            verdicts.append(all(may_write_as(a, name, d) for d in a.header.from_domains))
    return all(verdicts)


def may_write_as(a: Attempt, name: str | None, domain: str) -> bool:
    if isinstance(a.origin, LocalUser):
        return a.sender is not None and a.sender.domain == domain
    return name is None or a.white_list is None or holds(name, domain)


def asked(a: Attempt, stages: Stage) -> Refused | None:
    try:
        admit(a, stages)
    except Refused as refused:
        return refused
    return None


@pytest.mark.fuzz
@given(ATTEMPTS, STAGES)
@example(attempt(replace(peer(), chain=None)), Stage.PEER | Stage.SENDER)
def test_what_is_accepted_is_acceptable(facts: Attempt, stages: Stage) -> None:
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
    facts: Attempt,
) -> None:
    # DOMAIN §9.14-9.17, §9.13: the stages that the session asks at MAIL
    if asked(replace(facts, sender_stated=True), Stage.PEER | Stage.SENDER):
        return
    assert facts.white_list is not None
    if isinstance(facts.origin, Peer):
        name = name_of(facts)
        assert name is not None
        assert facts.sender is None or holds(name, facts.sender.domain)
    else:
        assert facts.origin.state is MailboxState.ACTIVE
