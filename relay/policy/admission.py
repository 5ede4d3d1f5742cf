"""Admission: the pure function that decides whether a sender may send a message to a recipient.

`RULES` is the order of checks of DOMAIN §3.2 (and §3.3 for our own users); each rule is a function
from an `AdmissionFacts` to a `AdmissionFinding`.  The SMTP session asks stage by stage with the
facts known so far, `mssante whitelist explain peer` prints the findings, and local submission asks
the same rules. No I/O, no clock, no logging: the caller gathers the facts and passes them in.
"""

from collections.abc import Callable
from functools import cache
from typing import Final

from foundation.ins import PATIENT_DOMAIN
from relay.policy import patients, sizes
from relay.policy.author_rules import header_from, own_header_from
from relay.policy.evidence import chain_evidence, entry_evidence
from relay.policy.facts import (
    AdmissionFacts,
    AdmissionFinding,
    AdmissionPolicy,
    LocalUser,
    Peer,
    Stage,
    name_of,
    no,
    not_listed,
    ok,
)
from relay.policy.header_from import HeaderFromPolicy
from relay.policy.recipient import Recipient, RecipientStatus
from relay.smtp.errors import Refused
from relay.smtp.reply import Reply
from whitelist.national.lookup import WhiteList
from whitelist.pki.trust_store import ChainStatus

# The facts and their types belong to `relay.policy.facts`; callers of `admit` import them here.
__all__ = [
    "CLEAR_TEXT",
    "RULES",
    "TLS_REQUIRED",
    "AdmissionFacts",
    "AdmissionFinding",
    "AdmissionPolicy",
    "HeaderFromPolicy",
    "LocalUser",
    "Peer",
    "Stage",
    "admit",
    "admit_recipient",
    "examine",
]

Rule = Callable[[AdmissionFacts], AdmissionFinding | None]

TLS_REQUIRED: Final = Reply(530, "5.7.0", "Must issue a STARTTLS command first")
CLEAR_TEXT: Final = no("tls", TLS_REQUIRED, "no TLS on this connection", "clear text")


def _tls(a: AdmissionFacts) -> AdmissionFinding | None:
    if not isinstance(a.origin, Peer):
        return None
    if not a.origin.tls_version:
        return CLEAR_TEXT
    origin = a.origin
    return ok("tls", lambda: f"{origin.tls_version} {origin.cipher}")


def _certificate(a: AdmissionFacts) -> AdmissionFinding | None:
    if not isinstance(a.origin, Peer):
        return None
    if a.origin.certificate is None and a.origin.chain is None:
        reply = Reply(554, "5.7.1", "No client certificate presented; an IGC-Sante one is required")
        return no("certificate", reply, "no certificate in the handshake", "none")
    if a.origin.certificate is None:
        reply = Reply(554, "5.7.1", "Client certificate refused: its names cannot be read")
        return no("certificate", reply, a.origin.chain.detail if a.origin.chain else "")
    shown = a.origin.certificate
    return ok("certificate", lambda: f"{shown.subject} serial {shown.serial:x}")


def _chain(a: AdmissionFacts) -> AdmissionFinding | None:
    if not isinstance(a.origin, Peer) or a.origin.certificate is None:
        return None
    chain = a.origin.chain
    if chain is None:
        reply = Reply(554, "5.7.1", f"Client certificate refused: {ChainStatus.UNTRUSTED}")
        return no("chain", reply, "nobody has judged its chain")
    if chain.status is ChainStatus.NO_CRL:
        reply = Reply(451, "4.7.1", "Revocation lists unavailable here, try again later")
        return no("chain", reply, chain.detail)
    if not chain.trusted:
        reply = Reply(554, "5.7.1", f"Client certificate refused: {chain.status}")
        serial = f"{a.origin.certificate.serial:x}"
        return no("chain", reply, chain.detail, f"{name_of(a)} serial {serial}")
    return ok("chain", lambda: chain_evidence(chain))


def _list_usable(a: AdmissionFacts) -> AdmissionFinding | None:
    if a.white_list is None:
        reply = Reply(451, "4.7.1", "National white list unavailable here, try again later")
        return no("list", reply, a.list_problem)
    usable = a.white_list
    return ok(
        "list", lambda: f"generated {usable.generated_at.isoformat()}, {usable.domains} domains"
    )


def _listed(a: AdmissionFacts) -> AdmissionFinding | None:
    if not isinstance(a.origin, Peer) or a.origin.certificate is None or a.white_list is None:
        return None
    name, white_list = a.origin.certificate.subject, a.white_list
    if not white_list.lists(name):
        reply = Reply(554, "5.7.1", "Certificate name is not on the national white list")
        return not_listed("listed", reply, f"presented {name}", str(name), final=a.list_final)
    return ok("listed", lambda: f"{name}: {len(white_list.domains_of(name))} domains")


def _sender(a: AdmissionFacts) -> AdmissionFinding | None:
    if not a.sender_stated:
        return None
    if isinstance(a.origin, LocalUser):
        if a.origin.state not in {
            RecipientStatus.ACTIVE,
            RecipientStatus.FULL,
        }:  # a full one may send
            reply = Reply(550, "5.7.1", f"Sender mailbox is {a.origin.state}")
            return no("sender", reply, f"mailbox {a.origin.state}")
        return ok("sender", "active mailbox of this operator")
    if a.sender is None:
        return ok("sender", "null reverse-path (DSN or MDN)")
    if a.white_list is None or a.origin.certificate is None:
        return None
    domain, name, white_list = a.sender.domain, a.origin.certificate.subject, a.white_list
    if not white_list.covers(name, domain):
        reply = Reply(550, "5.7.1", f"Sender domain {domain} is not listed with your certificate")
        listed = "; ".join(sorted(map(str, white_list.names_of(domain)))) or "nothing"
        said = f"presented {name}, {domain} is listed with {listed}"
        return not_listed("sender", reply, said, f"{domain} by {name}", final=a.list_final)
    return ok("sender", lambda: entry_evidence(white_list, name, domain))


def _size(a: AdmissionFacts) -> AdmissionFinding | None:
    if a.size is None:
        return None
    # At MAIL the header is not known yet: it may be that of a report.
    report = a.report or a.header is None or (a.sender_stated and a.sender is None)
    limit = sizes.limit_of(a.policy.max_message_bytes, report=report)
    if a.size > limit:
        return no("size", sizes.over(limit), f"{a.size} octets", f"{a.size} octets")
    counts, limit = a.policy.patient_max_counts, a.policy.patient_max_bytes
    found = a.content if counts is patients.Counted.CONTENT and a.content is not None else a.size
    if a.to_patients and found > limit:
        return no("size", patients.over(limit, counts), f"{found} octets", f"{found} octets")
    return ok("size", lambda: f"{a.size} of {limit} octets")


_RECIPIENT_REFUSALS: Final = {
    RecipientStatus.UNKNOWN: Reply(550, "5.1.1", "No such mailbox here"),
    RecipientStatus.CLOSED: Reply(550, "5.2.1", "Mailbox closed"),
    RecipientStatus.SUSPENDED: Reply(450, "4.2.1", "Mailbox suspended, try again later"),
    RecipientStatus.REFUSED: Reply(550, "5.2.1", "Mailbox suspended"),
    RecipientStatus.FULL: Reply(452, "4.2.2", "Mailbox full, try again later"),
}


# States in which a mailbox for reports alone answers ordinary mail for good (DOMAIN §9.40).
_WOULD_TAKE: Final = frozenset({RecipientStatus.ACTIVE, RecipientStatus.FULL})
_NO_REPLY: Final = Reply(
    550, "5.7.1", "Nobody reads this mailbox: it sends only, and takes reports alone"
)

_ACTIVE_HERE: Final = AdmissionFinding("recipient", "active mailbox of this operator")


def _recipient(a: AdmissionFacts) -> AdmissionFinding | None:
    if a.recipient is None:
        return None
    report = a.report or (a.sender_stated and a.sender is None)
    return _of_recipient(a.recipient, a.origin, a.white_list, report=report, final=a.list_final)


def _of_recipient(
    recipient: Recipient,
    origin: Peer | LocalUser,
    white_list: WhiteList | None,
    *,
    report: bool,
    final: bool = True,
) -> AdmissionFinding | None:
    state, address = recipient.state, recipient.address
    if recipient.reports_only and not report and state in _WOULD_TAKE:
        return no("recipient", _NO_REPLY, "mailbox without replies", address.masked)
    if state.open_to_all:
        return _ACTIVE_HERE
    if state is not RecipientStatus.FOREIGN:
        return no("recipient", _RECIPIENT_REFUSALS[state], f"mailbox {state}", address.masked)
    if isinstance(origin, Peer):
        reply = Reply(550, "5.7.1", f"Relaying denied: {address.domain} is not served here")
        said = f"{address.domain} is not one of our domains"
        return no("recipient", reply, said, address.domain)
    if white_list is None:
        return None
    if not white_list.names_of(address.domain):
        reply = Reply(550, "5.7.1", f"{address.domain} is not on the national white list")
        said = "not listed, and nothing leaves the trust space"
        return not_listed("recipient", reply, said, final=final)
    return ok("recipient", f"{address.domain} is on the white list")


def _patient(a: AdmissionFacts) -> AdmissionFinding | None:
    if not isinstance(a.origin, LocalUser) or a.recipient is None:
        return None
    address, state = a.recipient.address, a.recipient.state
    if address.domain != PATIENT_DOMAIN or state is not RecipientStatus.FOREIGN:
        return None
    reply = patients.refusal(address, check_key=a.policy.patient_ins_key)
    if reply is not None:
        return no("patient", reply, reply.text, address.masked)
    return ok("patient", "a well-formed INS, or the national test mailbox")


def _loop(a: AdmissionFacts) -> AdmissionFinding | None:
    if a.header is None:
        return None
    limit, count = a.policy.max_received, a.header.received
    if count > limit:
        reply = Reply(554, "5.4.6", f"Routing loop: over {limit} Received fields")
        return no("loop", reply, f"{count} Received fields", f"{count} Received fields")
    return ok("loop", lambda: f"{count} Received fields")


def _header_size(a: AdmissionFacts) -> AdmissionFinding | None:
    if a.header is None:
        return None
    policy, header = a.policy, a.header

    def found() -> str:
        return f"{header.fields} fields, {header.octets} octets"

    if not header.complete:
        reply = Reply(550, "5.6.0", f"Header section over {policy.max_header_bytes} octets")
        return no("header-size", reply, found(), "more")
    if header.fields > policy.max_header_fields:
        reply = Reply(550, "5.6.0", f"Header section over {policy.max_header_fields} fields")
        return no("header-size", reply, found(), f"{header.fields} fields")
    return ok("header-size", found)


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
    (Stage.MESSAGE, own_header_from),
    (Stage.MESSAGE, header_from),
)


@cache
def _rules(stages: Stage) -> tuple[Rule, ...]:
    return tuple(rule for stage, rule in RULES if stage & stages)


def examine(facts: AdmissionFacts, stages: Stage = Stage.EVERY) -> tuple[AdmissionFinding, ...]:
    """The findings of these stages, in order; a rule whose facts are missing gives none."""
    findings = (rule(facts) for rule in _rules(stages))
    return tuple(finding for finding in findings if finding is not None)


def admit(facts: AdmissionFacts, stages: Stage) -> None:
    """Return if every rule of these stages passes; raise Refused with the first that fails."""
    for rule in _rules(stages):
        _hold(rule(facts))


def admit_recipient(
    recipient: Recipient, origin: Peer, white_list: WhiteList | None, *, report: bool
) -> None:
    """`admit` at RECIPIENT, cheaper: a peer's message may have hundreds of recipients.

    `report`: the sender is the null reverse-path.
    """
    _hold(_of_recipient(recipient, origin, white_list, report=report))


def _hold(finding: AdmissionFinding | None) -> None:
    if finding is not None and finding.reply is not None:
        raise Refused(finding.rule, finding.reply, finding.evidence, finding.presented)
