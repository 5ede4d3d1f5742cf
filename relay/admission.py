"""Admission: the one pure function that decides who may send what to whom.

`RULES` is the order of checks of DOMAIN §3.2 (and §3.3 for our own users), each rule a function of
an `Attempt` to a `Finding`.  The SMTP session asks stage by stage with the facts it has so far,
`mssante whitelist explain` prints every finding, local submission passes through the same rules.
No I/O, no clock, no logging here: the facts are gathered outside and passed in.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Flag, StrEnum, auto
from functools import cache
from typing import Final, NamedTuple

from relay import patients
from relay.address import PATIENT_DOMAIN, Address
from relay.errors import Reply, SmtpError
from relay.evidence import chain_evidence, entry_evidence
from relay.headers import MAX_HEADER, HeaderFacts
from relay.recipient import MailboxState, Recipient
from whitelist.lookup import WhiteList
from whitelist.trust import CertificateFacts, ChainStatus, ChainVerdict

MAX_RECEIVED: Final = 100  # trace fields before a message counts as looping, RFC 5321 §6.3
MAX_HEADER_FIELDS: Final = 1000


class Stage(Flag):
    """When a rule is asked; EVERY is all of them."""

    PEER = auto()
    SENDER = auto()
    RECIPIENT = auto()
    MESSAGE = auto()
    EVERY = PEER | SENDER | RECIPIENT | MESSAGE


class HeaderFromPolicy(StrEnum):
    """What happens when the header From names a domain not listed with the peer's DN."""

    REFUSE = "refuse"
    TAG = "tag"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Peer:
    """A connected operator: what TLS showed of it.

    `certificate` is None if it showed none, or (then `chain` says why) one that cannot be read.
    """

    tls_version: str = ""  # empty before STARTTLS
    cipher: str = ""
    certificate: CertificateFacts | None = None
    chain: ChainVerdict | None = None


@dataclass(frozen=True, slots=True)
class LocalUser:
    """One of our own mailboxes that submits a message; its state as the mailstore says."""

    state: MailboxState


@dataclass(frozen=True, slots=True)
class Policy:
    """What the configuration decides.  Sizes in octets on the wire.

    `patient_*` hold for what our own users send to patient.mssante.fr (DOMAIN §7.4).
    """

    max_message_bytes: int
    header_from: HeaderFromPolicy = HeaderFromPolicy.TAG
    max_received: int = MAX_RECEIVED
    max_header_fields: int = MAX_HEADER_FIELDS
    max_header_bytes: int = MAX_HEADER
    patient_max_bytes: int = patients.MAX_BYTES
    patient_ins_key: bool = True


@dataclass(frozen=True, slots=True)
class Attempt:
    """The facts at one moment of a transaction; later ones are None until they are known."""

    origin: Peer | LocalUser
    policy: Policy
    white_list: WhiteList | None
    list_problem: str = ""
    sender_stated: bool = False
    sender: Address | None = None  # None with sender_stated: the null reverse-path
    size: int | None = None
    recipient: Recipient | None = None
    header: HeaderFacts | None = None
    to_patients: bool = False  # whether a recipient is at patient.mssante.fr, and not ours


class Finding(NamedTuple):  # made a dozen times for each message, in a third of a dataclass's time
    """The result of one rule; `reply` is the refusal or None.

    `presented` is what the peer itself has shown, and may be told.  `grounds` give the evidence,
    or can: of what passes, nobody asks for it on the way.
    """

    rule: str
    grounds: str | Callable[[], str]
    reply: Reply | None = None
    presented: str = ""

    @property
    def evidence(self) -> str:
        """On what it rests, for operators' eyes."""
        return self.grounds if isinstance(self.grounds, str) else self.grounds()

    @property
    def passed(self) -> bool:
        """Whether the rule lets the attempt through."""
        return self.reply is None


Rule = Callable[[Attempt], Finding | None]


def _ok(rule: str, grounds: str | Callable[[], str]) -> Finding:
    return Finding(rule, grounds)


def _no(rule: str, reply: Reply, evidence: str, presented: str = "") -> Finding:
    return Finding(rule, evidence, reply, presented)


def _name(a: Attempt) -> str:
    """The name that the peer's certificate shows."""
    shown = a.origin.certificate if isinstance(a.origin, Peer) else None
    return str(shown.subject) if shown else ""


def _tls(a: Attempt) -> Finding | None:
    if not isinstance(a.origin, Peer):
        return None
    if not a.origin.tls_version:
        reply = Reply(530, "5.7.0", "Must issue a STARTTLS command first")
        return _no("tls", reply, "no TLS on this connection", "clear text")
    origin = a.origin
    return _ok("tls", lambda: f"{origin.tls_version} {origin.cipher}")


def _certificate(a: Attempt) -> Finding | None:
    if not isinstance(a.origin, Peer):
        return None
    if a.origin.certificate is None and a.origin.chain is None:
        reply = Reply(554, "5.7.1", "No client certificate presented; an IGC-Sante one is required")
        return _no("certificate", reply, "no certificate in the handshake", "none")
    if a.origin.certificate is None:
        reply = Reply(554, "5.7.1", "Client certificate refused: its names cannot be read")
        return _no("certificate", reply, a.origin.chain.detail if a.origin.chain else "")
    shown = a.origin.certificate
    return _ok("certificate", lambda: f"{shown.subject} serial {shown.serial:x}")


def _chain(a: Attempt) -> Finding | None:
    if not isinstance(a.origin, Peer) or a.origin.certificate is None:
        return None
    chain = a.origin.chain
    if chain is None:
        reply = Reply(554, "5.7.1", f"Client certificate refused: {ChainStatus.UNTRUSTED}")
        return _no("chain", reply, "nobody has judged its chain")
    if chain.status is ChainStatus.NO_CRL:
        reply = Reply(451, "4.7.1", "Revocation lists unavailable here, try again later")
        return _no("chain", reply, chain.detail)
    if not chain.trusted:
        reply = Reply(554, "5.7.1", f"Client certificate refused: {chain.status}")
        serial = f"{a.origin.certificate.serial:x}"
        return _no("chain", reply, chain.detail, f"{_name(a)} serial {serial}")
    return _ok("chain", lambda: chain_evidence(chain))


def _list_usable(a: Attempt) -> Finding | None:
    if a.white_list is None:
        reply = Reply(451, "4.7.1", "National white list unavailable here, try again later")
        return _no("list", reply, a.list_problem)
    usable = a.white_list
    return _ok(
        "list", lambda: f"generated {usable.generated_at.isoformat()}, {usable.domains} domains"
    )


def _listed(a: Attempt) -> Finding | None:
    if not isinstance(a.origin, Peer) or a.origin.certificate is None or a.white_list is None:
        return None
    name, white_list = a.origin.certificate.subject, a.white_list
    if not white_list.lists(name):
        reply = Reply(554, "5.7.1", "Certificate name is not on the national white list")
        return _no("listed", reply, f"presented {name}", str(name))
    return _ok("listed", lambda: f"{name}: {len(white_list.domains_of(name))} domains")


def _sender(a: Attempt) -> Finding | None:
    if not a.sender_stated:
        return None
    if isinstance(a.origin, LocalUser):
        if a.origin.state not in {MailboxState.ACTIVE, MailboxState.FULL}:  # full, it may send
            reply = Reply(550, "5.7.1", f"Sender mailbox is {a.origin.state}")
            return _no("sender", reply, f"mailbox {a.origin.state}")
        return _ok("sender", "active mailbox of this operator")
    if a.sender is None:
        return _ok("sender", "null reverse-path (DSN or MDN)")
    if a.white_list is None or a.origin.certificate is None:
        return None
    domain, name, white_list = a.sender.domain, a.origin.certificate.subject, a.white_list
    if not white_list.covers(name, domain):
        reply = Reply(550, "5.7.1", f"Sender domain {domain} is not listed with your certificate")
        listed = "; ".join(sorted(map(str, white_list.names_of(domain)))) or "nothing"
        said = f"presented {name}, {domain} is listed with {listed}"
        return _no("sender", reply, said, f"{domain} by {name}")
    return _ok("sender", lambda: entry_evidence(white_list, name, domain))


def _size(a: Attempt) -> Finding | None:
    if a.size is None:
        return None
    most, patient = a.policy.max_message_bytes, a.policy.patient_max_bytes
    limit = patients.size_limit(most, patient, to_patients=a.to_patients)
    if a.size > limit.octets:
        return _no("size", limit.refusal, f"{a.size} octets", f"{a.size} octets")
    return _ok("size", lambda: f"{a.size} of {limit.octets} octets")


_RECIPIENT_REFUSALS: Final = {
    MailboxState.UNKNOWN: Reply(550, "5.1.1", "No such mailbox here"),
    MailboxState.CLOSED: Reply(550, "5.2.1", "Mailbox closed"),
    MailboxState.SUSPENDED: Reply(450, "4.2.1", "Mailbox suspended, try again later"),
    MailboxState.FULL: Reply(452, "4.2.2", "Mailbox full, try again later"),
}


_ACTIVE_HERE: Final = Finding("recipient", "active mailbox of this operator")


def _recipient(a: Attempt) -> Finding | None:
    return None if a.recipient is None else _of_recipient(a.recipient, a.origin, a.white_list)


def _of_recipient(
    recipient: Recipient, origin: Peer | LocalUser, white_list: WhiteList | None
) -> Finding | None:
    state, address = recipient.state, recipient.address
    if state.open_to_all:
        return _ACTIVE_HERE
    if state is not MailboxState.FOREIGN:
        return _no("recipient", _RECIPIENT_REFUSALS[state], f"mailbox {state}", address.masked)
    if isinstance(origin, Peer):
        reply = Reply(550, "5.7.1", f"Relaying denied: {address.domain} is not served here")
        said = f"{address.domain} is not one of our domains"
        return _no("recipient", reply, said, address.domain)
    if white_list is None:
        return None
    if not white_list.names_of(address.domain):
        reply = Reply(550, "5.7.1", f"{address.domain} is not on the national white list")
        return _no("recipient", reply, "not listed, and nothing leaves the trust space")
    return _ok("recipient", f"{address.domain} is on the white list")


def _patient(a: Attempt) -> Finding | None:
    if not isinstance(a.origin, LocalUser) or a.recipient is None:
        return None
    address, state = a.recipient
    if address.domain != PATIENT_DOMAIN or state is not MailboxState.FOREIGN:
        return None
    reply = patients.refusal(address, check_key=a.policy.patient_ins_key)
    if reply is not None:
        return _no("patient", reply, reply.text, address.masked)
    return _ok("patient", "a well-formed INS, or the national test mailbox")


def _loop(a: Attempt) -> Finding | None:
    if a.header is None:
        return None
    limit, count = a.policy.max_received, a.header.received
    if count > limit:
        reply = Reply(554, "5.4.6", f"Routing loop: over {limit} Received fields")
        return _no("loop", reply, f"{count} Received fields", f"{count} Received fields")
    return _ok("loop", lambda: f"{count} Received fields")


def _header_size(a: Attempt) -> Finding | None:
    if a.header is None:
        return None
    policy, header = a.policy, a.header

    def found() -> str:
        return f"{header.fields} fields, {header.octets} octets"

    if not header.complete:
        reply = Reply(550, "5.6.0", f"Header section over {policy.max_header_bytes} octets")
        return _no("header-size", reply, found(), "more")
    if header.fields > policy.max_header_fields:
        reply = Reply(550, "5.6.0", f"Header section over {policy.max_header_fields} fields")
        return _no("header-size", reply, found(), f"{header.fields} fields")
    return _ok("header-size", found)


def foreign_authors(a: Attempt) -> tuple[str, ...]:
    """The domains in the header From and Sender that are not the sender's to use, in order."""
    domains = a.header.from_domains if a.header else frozenset[str]()
    if isinstance(a.origin, LocalUser):
        return tuple(sorted(domains - {a.sender.domain if a.sender else ""}))
    name = a.origin.certificate.subject if a.origin.certificate else None
    if name is None or a.white_list is None:
        return tuple(sorted(domains))
    return tuple(sorted(d for d in domains if not a.white_list.covers(name, d)))


def _header_from(a: Attempt) -> Finding | None:
    if a.header is None or a.policy.header_from is HeaderFromPolicy.OFF:
        return None
    if isinstance(a.origin, Peer) and None in (a.white_list, a.origin.certificate):
        return None
    strangers = foreign_authors(a)
    if not strangers:
        return _ok("header-from", "every author's domain belongs to the sender")
    # A hostile header can name tens of thousands.
    evidence = f"author domains of others: {', '.join(strangers[:5])}"
    if a.policy.header_from is HeaderFromPolicy.TAG:
        return _ok("header-from", f'{evidence} (tolerated by header_from = "tag")')
    local = isinstance(a.origin, LocalUser)
    fault = "not that of your address" if local else "not listed with your certificate"
    reply = Reply(550, "5.7.1", f"Author domain {strangers[0]} is {fault}")
    presented = ", ".join([*strangers[:5], *filter(None, [_name(a)])])
    return _no("header-from", reply, evidence, presented)


RULES: Final[tuple[tuple[Stage, Rule], ...]] = (
    (Stage.PEER, _tls),
    (Stage.PEER, _list_usable),
    (Stage.PEER, _certificate),
    (Stage.PEER, _chain),
    (Stage.PEER, _listed),
    (Stage.SENDER, _sender),
    (Stage.SENDER | Stage.MESSAGE, _size),
    (Stage.RECIPIENT, _recipient),
    (Stage.RECIPIENT, _patient),
    (Stage.MESSAGE, _header_size),
    (Stage.MESSAGE, _loop),
    (Stage.MESSAGE, _header_from),
)


@cache
def _rules(stages: Stage) -> tuple[Rule, ...]:
    return tuple(rule for stage, rule in RULES if stage & stages)


class Refused(SmtpError):
    """Admission said no; `rule` names the rule and serves as the metric's label."""

    def __init__(self, rule: str, reply: Reply, evidence: str, presented: str = "") -> None:
        super().__init__(reply, evidence)
        self.rule = rule
        self.presented = presented


def examine(attempt: Attempt, stages: Stage = Stage.EVERY) -> tuple[Finding, ...]:
    """Every rule of these stages that the facts allow to decide, in order."""
    findings = (rule(attempt) for rule in _rules(stages))
    return tuple(finding for finding in findings if finding is not None)


def admit(attempt: Attempt, stages: Stage) -> None:
    """Return if every rule of these stages passes; else raise Refused with the first that fails."""
    for rule in _rules(stages):
        _hold(rule(attempt))


def admit_recipient(recipient: Recipient, origin: Peer, white_list: WhiteList | None) -> None:
    """As `admit` at RECIPIENT, for one of a peer's hundreds, with the facts of the one rule."""
    _hold(_of_recipient(recipient, origin, white_list))


def _hold(finding: Finding | None) -> None:
    if finding is not None and finding.reply is not None:
        raise Refused(finding.rule, finding.reply, finding.evidence, finding.presented)
