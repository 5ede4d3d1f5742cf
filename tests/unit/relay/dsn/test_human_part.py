"""The text of DSNs: both languages, the advice before the servers' replies, nothing to fear."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from email.header import decode_header, make_header

import pytest

from relay.dsn.human_part import subject, words
from relay.dsn.model import Action, ReportedRecipient, ReportFacts
from relay.dsn.texts import ENGLISH, FRENCH
from relay.smtp.failure_reason import Cause

MONDAY = datetime(2026, 11, 23, 8, 0, 0, tzinfo=UTC)
SATURDAY = datetime(2026, 11, 28, 8, 0, 0, tzinfo=UTC)
LOST = ReportedRecipient(
    "claire@b.fr", Action.FAILED, "5.1.1", None, "550 5.1.1 Nobody", Cause.ADDRESS, "mx.b.fr"
)
LATE = ReportedRecipient(
    *("paul@c.fr", Action.DELAYED, "4.4.1", None, "Connection refused", Cause.UNREACHABLE),
    retry_until=SATURDAY,
)
HERE = ReportedRecipient("anne@d.fr", Action.DELIVERED, "2.1.5", None)
GONE = ReportedRecipient("jean@e.fr", Action.RELAYED, "2.1.9", None, "250 2.0.0 Ok")


def facts(*recipients: ReportedRecipient, notice_of: str = "") -> ReportFacts:
    return ReportFacts(
        hostname="smtp.a.fr",
        message_id="id",
        domain="a.fr",
        to="dr@a.fr",
        at=SATURDAY,
        arrival=MONDAY,
        envid=None,
        recipients=recipients,
        headers=b"",
        notice_of=notice_of,
    )


def test_a_failure_by_the_letter() -> None:
    assert words(facts(LOST)).split("\r\n") == [
        "Rapport de remise envoyé automatiquement par smtp.a.fr.",
        "Votre message est arrivé le 23/11/2026 à 08:00:00 (UTC+0000).",
        "",
        "Il n'a pas pu être remis à :",
        "  claire@b.fr",
        "Cette adresse n'existe pas, ou n'existe plus.",
        "Vérifiez-la, par exemple dans l'annuaire, et envoyez le message à la bonne.",
        "",
        "* * *",
        "",
        "Delivery report sent automatically by smtp.a.fr.",
        "Your message arrived on Mon, 23 Nov 2026 08:00:00 +0000.",
        "",
        "It could not be delivered to:",
        "  claire@b.fr",
        "This address does not exist, or no longer.",
        "Check it, in the directory for instance, and send the message to the right one.",
        "",
        "* * *",
        "",
        "Réponses reçues / What was answered:",
        "  claire@b.fr (mx.b.fr)",
        "    550 5.1.1 Nobody",
    ]


def test_a_delay_says_until_when_and_to_wait() -> None:
    french, english, said = words(facts(LATE)).split("* * *")
    assert "Il n'a pas encore pu être remis à :\r\n  paul@c.fr\r\n" in french
    assert "surtout pas à le renvoyer : d'autres essais auront lieu jusqu'au 28/11/2026" in french
    assert "no need to send it again: more tries follow until Sat, 28 Nov 2026" in english
    assert "pas d'autre essai" not in french
    assert said.endswith("  paul@c.fr\r\n    Connection refused")


def test_of_several_kinds_the_worst_comes_first() -> None:
    full = replace(LOST, address="luc@b.fr", cause=Cause.FULL)
    also = replace(LOST, address="eve@b.fr")
    french, english, _ = words(facts(GONE, HERE, LATE, LOST, full, also)).split("* * *")
    for text in (french, english):
        places = [text.index(f"  {name}@") for name in ("claire", "eve", "luc", "paul", "anne")]
        assert places == sorted(places)
        assert places[-1] < text.index("  jean@")
    assert french.count("Cette adresse n'existe pas") == 1  # once for both
    assert "Ceci ne dit pas si le message a été lu." in french
    assert "This does not say whether the message was read." in english


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_is_told_in_both_languages_before_any_jargon(cause: Cause) -> None:
    french, english, said = words(facts(replace(LOST, cause=cause))).split("* * *")
    for text, language in ((french, FRENCH), (english, ENGLISH)):
        what, remedy = language.causes[cause]
        assert f"\r\n{what}\r\n{remedy}" in text
        advice = text.partition("  claire@b.fr")[2]
        assert not re.search(r"SMTP|DNS|MX|TLS|DSN|[0-9]{3}|\d\.\d", advice)
    assert "550 5.1.1 Nobody" in said


def test_what_a_peer_says_stays_in_its_line() -> None:
    evil = "550 5.1.1 x\r\n\r\n* * *\r\nVotre mot de passe est expiré \u202e" + "y" * 2000
    text = words(facts(replace(LOST, diagnostic=evil, remote="mx\r\nX: y")))
    assert text.count("\r\n* * *\r\n") == 2
    *_, name, said = text.split("\r\n")
    assert name == r"  claire@b.fr (mx\0D\0AX: y)"
    assert said.startswith(r"    550 5.1.1 x\0D\0A\0D\0A* * *\0D\0AVotre")
    assert len(said) <= 4 + 800


def test_the_postmaster_is_told_what_it_is_and_not_what_to_do() -> None:
    text = words(facts(LOST, notice_of="0193"))
    assert "C'est le message 0193, arrivé le 23/11/2026" in text
    assert "It is message 0193, which arrived on Mon, 23 Nov 2026" in text
    assert "Cette adresse n'existe pas" in text
    assert "Vérifiez-la" not in text
    assert "Votre message" not in text


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (facts(LOST), "Message non remis / Message not delivered"),
        (facts(LOST, HERE), "Message non remis à tous / Message not delivered to all"),
        (facts(LOST, LATE), "Message non remis à tous / Message not delivered to all"),
        (facts(LATE), "Message retardé / Message delayed"),
        (facts(LATE, HERE), "Message retardé / Message delayed"),
        (facts(HERE), "Accusé de réception / Delivery report"),
        (facts(HERE, GONE), "Accusé de réception / Delivery report"),
        (facts(GONE), "Message transmis / Message relayed"),
        (facts(LOST, notice_of="x"), "Rapport non remis / Undelivered report"),
    ],
)
def test_the_subject_tells_the_kind(told: ReportFacts, expected: str) -> None:
    lines = subject(told)
    assert all(len(line) <= 76 and line.isascii() for line in lines)  # RFC 2047 §2
    assert all(line.startswith(" ") for line in lines[1:])
    encoded = "".join(lines).removeprefix("Subject: ")
    assert str(make_header(decode_header(encoded))) == expected
