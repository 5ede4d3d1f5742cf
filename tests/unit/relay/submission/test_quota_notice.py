"""The message that warns a holder whose mailbox is nearly full."""

import email
from email.message import EmailMessage
from email.policy import default

from relay.submission.holder_notice import NoticeHead
from relay.submission.quota_notice import QuotaNotice, build_quota_notice
from tests.support.clock import NOW

HEAD = NoticeHead(
    message_id="0" * 32,
    mailbox="cardio@chu.mssante.fr",
    sender="postmaster@chu.mssante.fr",
    hostname="smtp.chu.mssante.fr",
    at=NOW,
)


def test_the_message_says_how_full_and_what_helps() -> None:
    octets = build_quota_notice(QuotaNotice(HEAD, 95, 95 * 2**20 + 600_000, 100 * 2**20))
    assert octets.isascii()
    assert b"\n" not in octets.replace(b"\r\n", b"")
    found = email.message_from_bytes(octets, policy=default)
    assert isinstance(found, EmailMessage)
    assert found["To"] == HEAD.mailbox
    assert found["Subject"] == "Votre messagerie sécurisée est remplie à plus de 95 %"
    assert found["Auto-Submitted"] == "auto-generated"
    text = found.get_content()
    assert "La messagerie cardio@chu.mssante.fr contient 95.6 Mo, sur les 100.0 Mo" in text
    assert "The mailbox cardio@chu.mssante.fr holds 95.6 MB of 100.0 MB." in text
    assert text.count("postmaster@chu.mssante.fr") == 2
