"""Message that tells the holder of a mailbox that an administrator reads it. Pure.

In French, then in English; plain text, so that every client shows it (DOMAIN §7.2).
"""

from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime


@dataclass(frozen=True, slots=True)
class NoticeHead:
    """Header of a notice of the operator to a mailbox; `sender`: address for questions."""

    message_id: str
    mailbox: str
    sender: str
    hostname: str
    at: datetime


@dataclass(frozen=True, slots=True)
class HolderNotice:
    """Facts of an access. `who`: name of the administrator; `second`: of the person who agreed."""

    head: NoticeHead
    who: str
    second: str | None
    reason: str
    begins: datetime
    ends: datetime


def build_notice(facts: HolderNotice) -> bytes:
    """Return the message (RFC 5322), with CRLF."""
    return notice(facts.head, "Accès d'un administrateur à votre messagerie", _text(facts))


def notice(head: NoticeHead, subject: str, text: str) -> bytes:
    """Return a message of the operator (RFC 5322), with CRLF."""
    message = EmailMessage(policy=SMTP.clone(cte_type="7bit"))
    message["From"] = f"Exploitation <{head.sender}>"
    message["To"] = head.mailbox
    message["Subject"] = subject
    message["Date"] = format_datetime(head.at)
    message["Message-ID"] = f"<{head.message_id}@{head.hostname}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834 §5: nobody answers it by a program
    message.set_content(text)
    return message.as_bytes()


def _text(facts: HolderNotice) -> str:
    head = facts.head
    begins, ends = (f"{one:%d/%m/%Y %H:%M} UTC" for one in (facts.begins, facts.ends))
    agreed = f", avec l'accord de {facts.second}" if facts.second else ""
    agreed_english = f", {facts.second} agreed" if facts.second else ""
    return (
        f"L'administrateur {facts.who} peut lire le contenu de la messagerie {head.mailbox}\n"
        f"du {begins} au {ends}{agreed}.\n"
        f"\n"
        f"Motif : {facts.reason}\n"
        f"\n"
        f"Cet accès est tracé. Si vous ne l'attendiez pas, adressez-vous à {head.sender}\n"
        f"ou au délégué à la protection des données de votre établissement.\n"
        f"\n"
        f"--\n"
        f"The administrator {facts.who} may read the mailbox {head.mailbox}\n"
        f"from {begins} to {ends}{agreed_english}. Reason: {facts.reason}\n"
    )
