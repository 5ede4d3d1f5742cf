"""The facts of an attempt to send, and the findings of the rules of admission about it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Flag, auto
from typing import Final, NamedTuple

from relay.policy import patients
from relay.policy.header_from import HeaderFromPolicy
from relay.policy.recipient import Recipient, RecipientStatus
from relay.smtp.address import SmtpAddress
from relay.smtp.headers import MAX_HEADER, HeaderFacts
from relay.smtp.reply import Reply
from whitelist.national.lookup import WhiteList
from whitelist.pki.trust_store import CertificateFacts, ChainVerdict

MAX_RECEIVED: Final = 100  # trace fields before a message counts as looping, RFC 5321 §6.3
MAX_HEADER_FIELDS: Final = 1000


class Stage(Flag):
    """The stage at which a rule is asked; EVERY is all of them."""

    PEER = auto()
    SENDER = auto()
    RECIPIENT = auto()
    MESSAGE = auto()
    EVERY = PEER | SENDER | RECIPIENT | MESSAGE


@dataclass(frozen=True, slots=True)
class Peer:
    """A connected operator, as seen in TLS.

    `certificate` is None if the peer showed none, or one that cannot be read (`chain` says why).
    """

    tls_version: str = ""  # empty before STARTTLS
    cipher: str = ""
    certificate: CertificateFacts | None = None
    chain: ChainVerdict | None = None


@dataclass(frozen=True, slots=True)
class LocalUser:
    """A mailbox of ours that submits a message; its state as the mailstore says."""

    state: RecipientStatus


@dataclass(frozen=True, slots=True)
class AdmissionPolicy:
    """Settings of admission.  Sizes are octets on the wire; for patients see `patient_max_counts`.

    `own_header_from_peers` are CNs, folded, of peers that forward mail of ours back to us.
    `patient_*` apply to mail of our own users to patient.mssante.fr (DOMAIN §7.4).
    """

    max_message_bytes: int
    header_from: HeaderFromPolicy = HeaderFromPolicy.TAG
    own_header_from: HeaderFromPolicy = HeaderFromPolicy.REFUSE
    own_header_from_peers: frozenset[str] = frozenset()
    max_received: int = MAX_RECEIVED
    max_header_fields: int = MAX_HEADER_FIELDS
    max_header_bytes: int = MAX_HEADER
    patient_max_bytes: int = patients.MAX_BYTES
    patient_max_counts: patients.Counted = patients.Counted.CONTENT
    patient_ins_key: bool = True


class AdmissionFacts(NamedTuple):  # two for each message, in a third of a dataclass's time
    """The facts at one moment of a transaction; a fact that is not known yet is None."""

    origin: Peer | LocalUser
    policy: AdmissionPolicy
    white_list: WhiteList | None
    list_problem: str = ""
    sender_stated: bool = False
    sender: SmtpAddress | None = None  # None with sender_stated: the null reverse-path
    size: int | None = None
    recipient: Recipient | None = None
    header: HeaderFacts | None = None
    own_authors: tuple[str, ...] = ()  # our domains among the authors that the peer may not use
    report: bool = False  # by its header; the null reverse-path makes a report in any case
    content: int | None = None  # octets of the decoded message, for patients
    to_patients: bool = False  # a recipient is at patient.mssante.fr, and not a mailbox of ours
    list_final: bool = True  # the list is certainly the newest and may refuse for good


class AdmissionFinding(NamedTuple):  # a dozen for each message, in a third of a dataclass's time
    """The result of one rule; `reply` is the refusal or None.

    `presented` is the value that the peer itself showed; it may be told to the peer.  `grounds` is
    the evidence, or a function that makes it: a rule that passes is hardly ever asked for it.
    """

    rule: str
    grounds: str | Callable[[], str]
    reply: Reply | None = None
    presented: str = ""

    @property
    def evidence(self) -> str:
        """The grounds of the finding, for operators' eyes."""
        return self.grounds if isinstance(self.grounds, str) else self.grounds()

    @property
    def passed(self) -> bool:
        """Whether the rule lets the attempt through."""
        return self.reply is None


def ok(rule: str, grounds: str | Callable[[], str]) -> AdmissionFinding:
    """The rule lets the attempt through."""
    return AdmissionFinding(rule, grounds)


def no(rule: str, reply: Reply, evidence: str, presented: str = "") -> AdmissionFinding:
    """The rule refuses the attempt."""
    return AdmissionFinding(rule, evidence, reply, presented)


_NOT_THE_NEWEST: Final = Reply(
    451, "4.7.1", "National white list here may be out of date, try again later"
)


def not_listed(
    rule: str, reply: Reply, evidence: str, presented: str = "", *, final: bool
) -> AdmissionFinding:
    """The rule refuses the attempt by the list; for now only, unless the list is `final`."""
    if final:
        return no(rule, reply, evidence, presented)
    return no(rule, _NOT_THE_NEWEST, f"{evidence}; not certain by this list: {reply}", presented)


def name_of(a: AdmissionFacts) -> str:
    """The name in the peer's certificate; empty without a certificate."""
    shown = a.origin.certificate if isinstance(a.origin, Peer) else None
    return str(shown.subject) if shown else ""
