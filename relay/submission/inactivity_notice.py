"""Message that warns the holder of a mailbox that nobody uses (DOMAIN U1.2). Pure.

In French, then in English; plain text, so that every client shows it (DOMAIN §7.2).
"""

from dataclasses import dataclass
from datetime import datetime

from relay.submission.holder_notice import NoticeHead, notice


@dataclass(frozen=True, slots=True)
class InactivityNotice:
    """Facts of a warning: last use, and the days of suspension and deletion if it stays unused."""

    head: NoticeHead
    used_at: datetime
    suspended_on: datetime
    deleted_on: datetime


def build_inactivity_notice(facts: InactivityNotice) -> bytes:
    """Return the message (RFC 5322), with CRLF."""
    return notice(facts.head, "Votre messagerie sécurisée n'est plus utilisée", _text(facts))


def _text(facts: InactivityNotice) -> str:
    head = facts.head
    used, suspended, deleted = (
        f"{one:%d/%m/%Y}" for one in (facts.used_at, facts.suspended_on, facts.deleted_on)
    )
    return (
        f"La messagerie {head.mailbox} n'a pas été utilisée depuis le {used}.\n"
        f"\n"
        f"Pour la garder, connectez-vous. Sans connexion, elle sera suspendue le {suspended} :\n"
        f"les messages qui lui sont adressés seront alors refusés. Elle pourra être supprimée\n"
        f"avec son contenu à partir du {deleted}.\n"
        f"\n"
        f"Pour vous y opposer autrement, adressez-vous à {head.sender}.\n"
        f"\n"
        f"--\n"
        f"Nobody has used the mailbox {head.mailbox} since {used}. Log in to keep it.\n"
        f"Otherwise it is suspended on {suspended}, and its mail refused; it may be deleted\n"
        f"with its content from {deleted} on. To object: {head.sender}\n"
    )
