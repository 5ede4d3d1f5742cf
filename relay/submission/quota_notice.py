"""Message that warns the holder of a mailbox that is nearly full. Pure.

In French, then in English; plain text, so that every client shows it (DOMAIN §7.2).
"""

from dataclasses import dataclass

from relay.submission.holder_notice import NoticeHead, notice


@dataclass(frozen=True, slots=True)
class QuotaNotice:
    """Facts of a warning: the level reached, in percent; use and quota, in octets."""

    head: NoticeHead
    level: int
    used: int
    quota: int


def build_quota_notice(facts: QuotaNotice) -> bytes:
    """Return the message (RFC 5322), with CRLF."""
    subject = f"Votre messagerie sécurisée est remplie à plus de {facts.level} %"
    return notice(facts.head, subject, _text(facts))


def _text(facts: QuotaNotice) -> str:
    head, used, quota = facts.head, _megaoctets(facts.used), _megaoctets(facts.quota)
    return (
        f"La messagerie {head.mailbox} contient {used} Mo, sur les {quota} Mo\n"
        f"dont elle dispose.\n"
        f"\n"
        f"Supprimez les messages dont vous n'avez plus besoin, après les avoir versés au\n"
        f"dossier du patient. Quand elle est pleine, les nouveaux messages n'arrivent plus :\n"
        f"leurs expéditeurs les renvoient pendant quelque temps, puis renoncent.\n"
        f"\n"
        f"Pour plus de place, adressez-vous à {head.sender}.\n"
        f"\n"
        f"--\n"
        f"The mailbox {head.mailbox} holds {used} MB of {quota} MB. Delete messages that\n"
        f"you no longer need. Once it is full, new messages do not arrive: their senders\n"
        f"try again for some time, then give up. For more room: {head.sender}\n"
    )


def _megaoctets(octets: int) -> str:
    return f"{octets / 2**20:.1f}"
