"""The message that tells a holder of an administrator's access."""

import email
from dataclasses import replace
from datetime import timedelta
from email.message import EmailMessage
from email.policy import default

from relay.submission.holder_notice import HolderNotice, NoticeHead, build_notice
from tests.support.clock import NOW

HEAD = NoticeHead(
    message_id="0" * 32,
    mailbox="cardio@chu.mssante.fr",
    sender="postmaster@chu.mssante.fr",
    hostname="smtp.chu.mssante.fr",
    at=NOW,
)
FACTS = HolderNotice(
    head=HEAD,
    who="sec.durand",
    second=None,
    reason="Réquisition n° 12",
    begins=NOW,
    ends=NOW + timedelta(hours=4),
)


def read(octets: bytes) -> EmailMessage:
    found = email.message_from_bytes(octets, policy=default)
    assert isinstance(found, EmailMessage)
    return found


def test_the_message_says_who_why_and_until_when() -> None:
    octets = build_notice(FACTS)
    assert octets.isascii()
    assert b"\n" not in octets.replace(b"\r\n", b"")
    found = read(octets)
    assert found["To"] == HEAD.mailbox
    assert found["From"] == f"Exploitation <{HEAD.sender}>"
    assert found["Subject"] == "Accès d'un administrateur à votre messagerie"
    assert found["Auto-Submitted"] == "auto-generated"
    assert found["Message-ID"] == f"<{'0' * 32}@{HEAD.hostname}>"
    text = found.get_content()
    assert "sec.durand peut lire le contenu de la messagerie cardio@chu.mssante.fr" in text
    assert "du 22/11/2026 10:11 UTC au 22/11/2026 14:11 UTC." in text
    assert "Motif : Réquisition n° 12" in text
    assert "accord" not in text


def test_the_second_person_is_named() -> None:
    text = read(build_notice(replace(FACTS, second="ide.petit"))).get_content()
    assert "avec l'accord de ide.petit." in text


def test_a_reason_cannot_forge_a_header() -> None:
    found = read(build_notice(replace(FACTS, reason="x\r\nBcc: y@z\r\n\r\nz")))
    assert found["Bcc"] is None
    assert "Bcc: y@z" in found.get_content()
