"""Mail between two operators of ours: the daemon delivers, commands act on its queue.

The sender polls its queue so rarely that mail which leaves in time was woken.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from mailstore.mailboxes.identifiers import MailboxType
from mssante_operator.assembly.clock import make_id, utc_now
from relay.acceptance.group_commit import commit
from relay.acceptance.message import AcceptedMessage
from relay.queue.schema import deliveries
from relay.smtp.address import parse_address
from relay.smtp.parameters import MailParameters, parse_rcpt_parameters
from tests.support.delivery.reports import ReadReport, read_report
from tests.support.lists.list_files import put, signed
from tests.support.machines.daemon import RESPONSIBLE, Daemon, command, lay_out, served
from tests.support.peers.postfix import Postfix, missing, postfix
from tests.support.waiting import until_now

MARTIN = "claire.martin@a.mssante.fr"
CARDIOLOGY = "cardiologie@a.mssante.fr"
THERE = "claire.martin@b.mssante.fr"
CLINIC = "accueil@clinique.mssante.fr"
CLOSED = "127.0.0.1:1"  # no server listens there
LISTED = {
    "a": "a",
    **dict.fromkeys(("b", "clinique", "dead", "gone"), "b"),
    **dict.fromkeys(("c", "patient"), "c"),
}


@dataclass(frozen=True)
class Pair:
    """Operator A, which sends; operator B; a Postfix as C; a file for messages to send."""

    a: Daemon
    b: Daemon
    c: Postfix | None
    file: Path

    def send(self, *to: str, sender: str = MARTIN, subject: str = "x", code: int = 0) -> str:
        """Send a message from A."""
        self.file.write_text(f"From: {sender}\nSubject: {subject}\n\nBonjour\n")
        words = [word for one in to for word in ("--to", one)]
        return self.a.run("message", "send", str(self.file), "--from", sender, *words, code=code)

    def arrived(self, address: str, subject: str) -> bool:
        """Whether a mailbox of B has it."""
        found = [self.b.body(entry) for entry in self.b.entries(address)]
        return any(f"Subject: {subject}\r\n".encode() in body for body in found)

    def queued(self, *filters: str) -> list[dict[str, object]]:
        """Deliveries in A's queue."""
        found: list[dict[str, object]] = json.loads(self.a.run("queue", "list", "--json", *filters))
        return found

    def report(self, about: str) -> ReadReport:
        """Wait for the report to Martin about a recipient, and return it."""
        found: list[bytes] = []

        def there() -> bool:
            bodies = [self.a.body(entry) for entry in self.a.entries(MARTIN)]
            found[:] = [body for body in bodies if about.encode() in body]
            return bool(found)

        until_now(there)
        (octets,) = found
        return read_report(octets)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    if missing():
        yield from _pair(folder, None)
        return
    with postfix(
        "c.mssante.fr", "c", smtpd_recipient_limit=5, smtpd_discard_ehlo_keywords="dsn"
    ) as c:
        yield from _pair(folder, c)


def _pair(folder: Path, c: Postfix | None) -> Iterator[Pair]:
    routes = {"dead.mssante.fr": CLOSED, "gone.mssante.fr": CLOSED}
    if c is not None:
        routes["c.mssante.fr"] = c.endpoint
    a = lay_out(folder / "a", "a", routes)
    b = lay_out(folder / "b", "b", {"a.mssante.fr": a.endpoint})
    a.outbound(poll_seconds=600)
    with a.config.open("a") as config:
        config.write(f'\n[outbound.operator_routes]\n"smtp.b.mssante.fr" = "{b.endpoint}"\n')
    b.run("domain", "add", "clinique.mssante.fr")
    b.run("mailbox", "add", CLINIC, "--type", "ORG", "--finess", "750000002", *RESPONSIBLE)
    for each in (a, b):
        put(each, signed(1, **LISTED))
        each.run("whitelist", "refresh")
    with served(b), served(a):
        yield Pair(a, b, c, folder / "letter.eml")


def test_the_route_of_a_domain_beats_that_of_its_operator(pair: Pair) -> None:
    pair.send(THERE, CLINIC, "x@dead.mssante.fr", subject="routes")
    until_now(lambda: pair.arrived(THERE, "routes") and pair.arrived(CLINIC, "routes"))
    until_now(lambda: [row["attempts"] for row in pair.queued("--domain", "dead*")] == [1])
    (row,) = pair.queued("--domain", "dead*")
    assert row["state"] == "waiting"
    assert str(row["last_error"]).startswith("127.0.0.1: ")


def test_what_a_rule_holds_leaves_when_released(pair: Pair) -> None:
    pair.a.run("queue", "rules", "add", "--recipient", THERE, "--reason", "ticket 1")
    pair.send(THERE, CLINIC, subject="held")
    until_now(lambda: pair.arrived(CLINIC, "held"))
    (row,) = pair.queued("--state", "held")
    assert (row["attempts"], row["held"]) == (0, "ticket 1")
    (rule,) = re.findall(r"^(\d+) ", pair.a.run("queue", "rules", "list"), re.MULTILINE)
    pair.a.run("queue", "rules", "remove", rule)
    pair.send(THERE, subject="after")
    until_now(lambda: pair.arrived(THERE, "after"))
    assert not pair.arrived(THERE, "held")
    assert pair.a.run("queue", "release", "--recipient", THERE) == "1 delivery released\n"
    until_now(lambda: pair.arrived(THERE, "held"))
    assert pair.queued("--state", "held") == []


def test_what_waits_for_a_paused_destination_leaves_when_it_is_resumed(pair: Pair) -> None:
    pair.a.run("queue", "pause", "clinique.mssante.fr", "--reason", "ticket 2")
    for number in range(3):
        pair.send(CLINIC, subject=f"paused {number}")
    pair.send(THERE, subject="meanwhile")
    until_now(lambda: pair.arrived(THERE, "meanwhile"))
    waiting = pair.queued("--domain", "clinique.mssante.fr")
    assert [row["attempts"] for row in waiting] == [0, 0, 0]
    pair.a.run("queue", "resume", "clinique.mssante.fr")
    until_now(lambda: all(pair.arrived(CLINIC, f"paused {n}") for n in range(3)))
    until_now(lambda: pair.queued("--domain", "clinique.mssante.fr") == [])


def test_a_success_that_was_asked_for_is_reported_by_the_other_operator(pair: Pair) -> None:
    # Accusé de réception of MSSanté (DOMAIN §3.3): A asks, B delivers and reports success.
    _submit(pair.a, THERE, asked="NOTIFY=SUCCESS,FAILURE", envid="Q4711")
    report = pair.report("Q4711")
    assert report.message["Reporting-MTA"] == "dns; smtp.b.mssante.fr"
    assert report.message["Original-Envelope-Id"] == "Q4711"
    (recipient,) = report.recipients
    assert recipient["Final-Recipient"] == f"rfc822;{THERE}"
    assert recipient["Action"] == "delivered"
    assert "Il a été remis dans la boîte aux lettres de :" in report.words
    assert "It was delivered to the mailbox of:" in report.words


def _submit(daemon: Daemon, *to: str, asked: str, envid: str) -> None:
    """Submit a message from Martin with report options, as a client gives them in RCPT."""
    addresses, now = tuple(map(parse_address, to)), utc_now()
    with daemon.store() as store:
        draft = store.blobs.draft()
        draft.write(f"From: {MARTIN}\r\nSubject: {envid}\r\n\r\nBonjour\r\n".encode())
        submission = AcceptedMessage(
            id=make_id(),
            session=make_id(),
            peer="local",
            sender=parse_address(MARTIN),
            received_at=now,
            trace=b"",
            draft=draft,
            parameters=MailParameters(envid=envid),
            remote={addresses[0].domain: addresses},
            mailbox_type=MailboxType.PER,
            asked=dict.fromkeys(addresses, parse_rcpt_parameters(asked)),
        )
        assert commit(store, [(submission, None)], now) == [None]


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_a_peer_without_dsn_that_takes_few_at_once_has_all_and_we_say_so(pair: Pair) -> None:
    # RFC 3461 §5.2.3, RFC 5321 §4.5.3.1.10
    assert pair.c is not None
    to = [f"r{n}@c.mssante.fr" for n in range(12)]
    _submit(pair.a, *to, asked="NOTIFY=SUCCESS", envid="Q4712")
    report = pair.report("Q4712")
    assert report.message["Reporting-MTA"] == "dns; smtp.a.mssante.fr"
    assert {one["Action"] for one in report.recipients} == {"relayed"}
    assert {one["Final-Recipient"] for one in report.recipients} == {f"rfc822;{t}" for t in to}
    until_now(lambda: pair.c is not None and len(pair.c.messages()) == len(to))
    assert pair.c.log().count("]: connect from") == 1
    assert pair.queued("--domain", "c.mssante.fr") == []


def _tells(report: ReadReport, to: str, status: str, sentences: Sequence[str]) -> None:
    (recipient,) = report.recipients
    assert report.message["Reporting-MTA"] == "dns; smtp.a.mssante.fr"
    assert recipient["Final-Recipient"] == f"rfc822;{to}"
    assert (recipient["Action"], recipient["Status"]) == ("failed", status)
    for sentence in sentences:
        assert sentence in report.words


def test_a_recipient_refused_is_reported_in_french_and_english(pair: Pair) -> None:
    pair.send("personne@b.mssante.fr", subject="nobody")
    sentences = ("Cette adresse n'existe pas, ou n'existe plus.", "This address does not exist")
    _tells(pair.report("personne@b"), "personne@b.mssante.fr", "5.1.1", sentences)


def test_a_domain_that_leaves_the_list_is_reported_at_once(pair: Pair) -> None:
    # DOMAIN §3.3: refused before queueing, or reported; and refused from then on.
    pair.send("x@gone.mssante.fr")
    until_now(lambda: [row["attempts"] for row in pair.queued("--domain", "gone*")] == [1])
    assert [row["state"] for row in pair.queued("--domain", "gone*")] == ["waiting"]
    put(pair.a, signed(2, **{name: who for name, who in LISTED.items() if name != "gone"}))
    pair.a.run("whitelist", "refresh", "--accept-shrink")
    refused = pair.send("x@gone.mssante.fr", code=1)
    assert "550 5.7.1" in refused

    # A minute ago, so that the list was checked since; without that nothing fails by the list.
    with pair.a.store() as store, store.database.write() as connection:
        of_it = update(deliveries).where(deliveries.c.domain == "gone.mssante.fr")
        connection.execute(of_it.values(created_at=utc_now() - timedelta(minutes=1)))

    def failed() -> bool:
        # The courier may not have loaded the new list yet, or may be faster than this command.
        command("--config", str(pair.a.config), "queue", "retry", "--domain", "gone*")
        return bool(pair.queued("--state", "failed", "--domain", "gone*"))

    until_now(failed)
    sentences = (
        "Le domaine de cette adresse ne fait pas partie de l'espace de confiance MSSanté.",
        "The domain of this address is not part of the MSSanté trust space.",
    )
    _tells(pair.report("x@gone"), "x@gone.mssante.fr", "5.7.1", sentences)


def test_what_is_too_large_for_a_patient_is_refused_before_it_is_queued(pair: Pair) -> None:
    # DOMAIN §9.30
    patient = "279035121518989@patient.mssante.fr"
    line = b"x" * 76 + b"\r\n"
    pair.file.write_bytes(f"From: {MARTIN}\r\n\r\n".encode() + line * (26_214_400 // len(line)))
    words = ("message", "send", str(pair.file), "--from", MARTIN, "--to", patient)
    said = pair.a.run(*words, code=1)
    assert (
        "552 5.3.4 Message over the limit of 26214400 octets of content to patient.mssante.fr"
        in said
    )
    # For another recipient its size does not matter.
    assert "1 delivered here" in pair.a.run(*words[:-1], CARDIOLOGY)
    assert pair.queued("--domain", "patient.mssante.fr") == []
