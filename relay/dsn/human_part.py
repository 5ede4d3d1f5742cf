"""Human part of a DSN: plain text, French first, then English.

Pure.  First the event and the advice for the sender, without jargon; the servers' replies come
last, verbatim.  A DSN of success is MSSanté's *accusé de réception* (DOMAIN §3.3).
"""

from email.header import Header
from functools import cache
from typing import Final

from relay.dsn.model import Action, ReportedRecipient, ReportFacts
from relay.dsn.parts import shown
from relay.dsn.texts import ENGLISH, FRENCH, Language
from relay.smtp.failure_reason import Cause

_LINE: Final = 76  # octets of a line with encoded words, RFC 2047 §2
_SUCCESSES: Final = frozenset({Action.DELIVERED, Action.RELAYED})


def subject(facts: ReportFacts) -> list[str]:
    """Return the Subject field, in encoded words (RFC 2047), as lines."""
    actions = {recipient.action for recipient in facts.recipients}
    if facts.notice_of:
        text = "Rapport non remis / Undelivered report"
    elif actions == {Action.FAILED}:
        text = "Message non remis / Message not delivered"
    elif Action.FAILED in actions:
        text = "Message non remis à tous / Message not delivered to all"
    elif Action.DELAYED in actions:
        text = "Message retardé / Message delayed"
    elif actions == {Action.RELAYED}:
        text = "Message transmis / Message relayed"
    else:
        text = "Accusé de réception / Delivery report"
    return f"Subject: {_encoded(text)}".split("\n")


@cache
def _encoded(text: str) -> str:
    return Header(text, "utf-8", maxlinelen=_LINE, header_name="Subject").encode()


def words(facts: ReportFacts) -> str:
    """Return the text of a DSN; CRLF between lines."""
    sections = [_section(facts, FRENCH), _section(facts, ENGLISH)]
    said = [
        line
        for recipient in facts.recipients
        if recipient.action not in _SUCCESSES and recipient.diagnostic
        for line in (f"  {_named(recipient)}", f"    {shown(recipient.diagnostic)}")
    ]
    if said:
        sections.append(["Réponses reçues / What was answered:", *said])
    return "\r\n\r\n* * *\r\n\r\n".join("\r\n".join(section) for section in sections)


def _named(recipient: ReportedRecipient) -> str:
    return (
        f"{recipient.address} ({shown(recipient.remote)})"
        if recipient.remote
        else (recipient.address)
    )


def _section(facts: ReportFacts, language: Language) -> list[str]:
    successes = {recipient.action for recipient in facts.recipients} & _SUCCESSES
    receipt = all(recipient.action in _SUCCESSES for recipient in facts.recipients)
    arrival = language.date(facts.arrival)
    lines = [(language.receipt if receipt else language.report).format(facts.hostname)]
    if facts.notice_of:
        lines.append(language.notice.format(facts.notice_of, arrival))
    else:
        lines.append(language.arrival.format(arrival))
    for (action, *advice), addresses in _groups(facts, language).items():
        lines += ["", language.heads[action], *addresses, *advice]
    return [*lines, "", language.unread] if successes else lines


def _groups(
    facts: ReportFacts, language: Language
) -> dict[tuple[Action, *tuple[str, ...]], list[str]]:
    """Group recipients by action and advice, failures first."""
    groups: dict[tuple[Action, *tuple[str, ...]], list[str]] = {}
    order = {action: number for number, action in enumerate(Action)}
    for recipient in sorted(facts.recipients, key=lambda one: order[one.action]):
        said = _advice(recipient, language, to_sender=not facts.notice_of)
        groups.setdefault((recipient.action, *said), []).append(f"  {recipient.address}")
    return groups


def _advice(
    recipient: ReportedRecipient, language: Language, *, to_sender: bool
) -> tuple[str, ...]:
    """Return cause and remedy for a recipient.

    `to_sender`: the reader is the sender; the postmaster gets the cause alone.
    """
    if recipient.action in _SUCCESSES:
        return ()
    what, remedy = language.causes[recipient.cause]
    # If our own store has lost the body, waiting does not help: never advise to wait.
    if recipient.action is Action.FAILED or recipient.cause is Cause.UNREADABLE:
        return (what, remedy) if to_sender else (what,)
    if recipient.retry_until is None:
        return (what,)
    return (what, language.no_action.format(language.date(recipient.retry_until)))
