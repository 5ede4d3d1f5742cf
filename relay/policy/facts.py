"""The facts of an attempt to send and the findings about it, which the rules of admission judge."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Flag, StrEnum, auto
from typing import Final, NamedTuple

from relay.policy import patients
from relay.policy.recipient import MailboxState, Recipient
from relay.smtp.address import Address
from relay.smtp.errors import Reply
from relay.smtp.headers import MAX_HEADER, HeaderFacts
from whitelist.national.lookup import WhiteList
from whitelist.pki.trust_store import CertificateFacts, ChainVerdict

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
    """What happens to a header From with a domain that is not listed with the peer's DN."""

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
    """What the configuration decides.  Sizes in octets on the wire, that for patients as it counts.

    `own_header_from_peers` are CNs, folded, of peers that forward mail of ours back to us.
    `patient_*` hold for what our own users send to patient.mssante.fr (DOMAIN §7.4).
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
    own_authors: tuple[str, ...] = ()  # domains of ours among the authors, not the peer's to use
    report: bool = False  # by its header; with the null reverse-path it is one in any case
    content: int | None = None  # octets of the message once decoded, for patients
    to_patients: bool = False  # whether a recipient is at patient.mssante.fr, and not ours
    list_final: bool = True  # whether the list is certainly the newest, and may refuse for good


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


def ok(rule: str, grounds: str | Callable[[], str]) -> Finding:
    """The rule lets it through."""
    return Finding(rule, grounds)


def no(rule: str, reply: Reply, evidence: str, presented: str = "") -> Finding:
    """The rule refuses it."""
    return Finding(rule, evidence, reply, presented)


_NOT_THE_NEWEST: Final = Reply(
    451, "4.7.1", "National white list here may be out of date, try again later"
)


def not_listed(
    rule: str, reply: Reply, evidence: str, presented: str = "", *, final: bool
) -> Finding:
    """The rule refuses it by the list; for now only, unless the list is `final`."""
    if final:
        return no(rule, reply, evidence, presented)
    return no(rule, _NOT_THE_NEWEST, f"{evidence}; not certain by this list: {reply}", presented)


def name_of(a: Attempt) -> str:
    """The name that the peer's certificate shows."""
    shown = a.origin.certificate if isinstance(a.origin, Peer) else None
    return str(shown.subject) if shown else ""
