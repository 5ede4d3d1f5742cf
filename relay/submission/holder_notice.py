"""Message that tells the holder of a mailbox that an administrator reads it. Pure.

In French, then in English; plain text, so that every client shows it (DOMAIN §7.2).
"""

from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime


@dataclass(frozen=True, slots=True)
class HolderNotice:
    """Facts of an access. `who`: name of the administrator; `second`: of the person who agreed."""

    message_id: str
    mailbox: str
    sender: str
    hostname: str
    who: str
    second: str | None
    reason: str
    begins: datetime
    ends: datetime
    at: datetime


def build_notice(facts: HolderNotice) -> bytes:
    """Return the message (RFC 5322), with CRLF."""
    message = EmailMessage(policy=SMTP.clone(cte_type="7bit"))
    message["From"] = f"Exploitation <{facts.sender}>"
    message["To"] = facts.mailbox
    message["Subject"] = "Accès d'un administrateur à votre messagerie"
    message["Date"] = format_datetime(facts.at)
    message["Message-ID"] = f"<{facts.message_id}@{facts.hostname}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834 §5: nobody answers it by a program
    message.set_content(_text(facts))
    return message.as_bytes()


def _text(facts: HolderNotice) -> str:
    begins, ends = (f"{one:%d/%m/%Y %H:%M} UTC" for one in (facts.begins, facts.ends))
    agreed = f", avec l'accord de {facts.second}" if facts.second else ""
    agreed_english = f", {facts.second} agreed" if facts.second else ""
    return (
        f"L'administrateur {facts.who} peut lire le contenu de la messagerie {facts.mailbox}\n"
        f"du {begins} au {ends}{agreed}.\n"
        f"\n"
        f"Motif : {facts.reason}\n"
        f"\n"
        f"Cet accès est tracé. Si vous ne l'attendiez pas, adressez-vous à {facts.sender}\n"
        f"ou au délégué à la protection des données de votre établissement.\n"
        f"\n"
        f"--\n"
        f"The administrator {facts.who} may read the mailbox {facts.mailbox}\n"
        f"from {begins} to {ends}{agreed_english}. Reason: {facts.reason}\n"
    )
