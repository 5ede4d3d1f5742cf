"""Patients' identifiers never appear in our output, on any path of mail and commands.

Peers, senders and operators write the INS in every form; then log, journal and metrics of the
daemon, and the output of all commands, are searched for it.
"""

import asyncio
import os
import re
import smtplib
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import select

from foundation.privacy import mask
from mailstore.db.schema import messages
from mssante_operator.assembly.trust import open_trust
from mssante_operator.settings.model import load
from relay.policy import tls
from tests.support.lists.list_files import put, signed
from tests.support.machines.daemon import Daemon, client, command, get, lay_out, served
from tests.support.machines.operators import HOST
from tests.support.sessions.scripted import ScriptedPeer, running
from tests.support.waiting import until

INS = "279035121518989"
CORSICAN = "185012A12345666"
WRONG_KEY = "279037512345678"
MARTIN = "claire.martin@a.mssante.fr"
FORMS = (
    INS,
    "2 79 03 51 215 189 89",
    "2790351215189 clé 89",
    f'"{INS}"',
    CORSICAN,
    "".join(f"%{ord(one):02X}" for one in INS),
    "".join(f"+{ord(one):02X}" for one in INS),
    "=?utf-8?B?Mjc5MDM1MTIxNTE4OTg5?=",
)


def found_in(text: str) -> list[str]:
    """Patients whose INS is readable in a text."""
    plain = re.sub(r"(?:[%+=]|\\x\{?|\\u00)([346][0-9])\}?", lambda m: chr(int(m[1], 16)), text)
    letters = re.sub(r"cl[eé]|[^0-9A-Za-z]", "", plain).upper()
    found = [ins for ins in (INS, CORSICAN, WRONG_KEY) if ins in letters]
    return found + ["encoded"] * ("Mjc5MDM1MTIxNTE4OTg5" in text)


@pytest.mark.parametrize("form", FORMS)
def test_the_search_finds_what_it_looks_for(form: str) -> None:
    assert found_in(f"x {form} y")
    assert not found_in(mask(f"x {form} y"))


def context_of(daemon: Daemon, name: str) -> ssl.SSLContext:
    """TLS context of a server with the certificate of an operator."""
    trust = open_trust(load(daemon.config))
    return tls.server_context(tls.Identity(*daemon.identity(name)), trust)


class Site:
    """Operator A, whose peer names patients; output of all commands so far."""

    def __init__(self, folder: Path, style: str) -> None:
        self.daemon = lay_out(folder / "a", "a")
        text = self.daemon.config.read_text().replace('format = "console"', f'format = "{style}"')
        # Two of the three domains of the federation change their operator.
        self.daemon.config.write_text(
            text.replace("[whitelist]\n", "[whitelist]\nmax_shrink = 1\n")
        )
        put(self.daemon, signed(1, a="a", b="b", patient="b"))
        self.daemon.run("whitelist", "refresh")
        self.printed: list[str] = []

    def route(self, port: int) -> None:
        with self.daemon.config.open("a") as config:
            config.writelines(
                f'"{name}.mssante.fr" = "{HOST}:{port}"\n' for name in ("b", "patient")
            )

    def run(self, *words: str) -> str:
        """Run a command, with any exit code."""
        _, out, err = command("--config", str(self.daemon.config), *words)
        self.printed += [out, err]
        return out

    async def later(self, *words: str) -> str:
        return await asyncio.to_thread(self.run, *words)

    def outputs(self) -> dict[str, str]:
        """All output of the daemon and of commands."""
        journal = self.daemon.folder / "data" / "trace"
        return {
            "log": self.daemon.log(),
            "journal": "".join(path.read_text() for path in sorted(journal.rglob("*.jsonl"))),
            "metrics": get(self.daemon, "/metrics")[1] + get(self.daemon, "/readyz")[1],
            "commands": "".join(self.printed),
        }


def speak_as_a_peer(daemon: Daemon) -> None:
    """Hold sessions in which the peer names patients; some are refused, one is accepted."""
    for form in FORMS:
        with client(daemon, "b") as smtp:
            smtp.command_encoding = "utf-8"
            smtp.docmd("EHLO", "smtp.b.mssante.fr")
            smtp.docmd("MAIL", f"FROM:<dr@b.mssante.fr> ENVID={INS}")
            smtp.docmd("RCPT", f"TO:<{form}@a.mssante.fr>")
            smtp.docmd("RCPT", f"TO:<{form}@patient.mssante.fr>")
            smtp.docmd("VRFY", form)
            smtp.docmd(f"X{form}")
            smtp.docmd("RSET")
            smtp.docmd("MAIL", f"FROM:<{form}@evil.mssante.fr>")
    with client(daemon, "b") as smtp, suppress(smtplib.SMTPResponseException):
        smtp.docmd("EHLO", f"p{INS}.mssante.fr")
        smtp.docmd("MAIL", f"FROM:<{INS}@patient.mssante.fr>")
        smtp.docmd("RCPT", f"TO:<{MARTIN}> ORCPT=rfc822;{INS}+40patient.mssante.fr")
        smtp.docmd("DATA")
        smtp.send(f"From: {INS}@x{INS}.fr\r\nSubject: {INS}\r\n\r\n{INS}\r\n.\r\n".encode())
        assert smtp.getreply()[0] == 250


async def send_to_patients(site: Site, waits: Callable[[], bool]) -> None:
    letter = site.daemon.folder / "letter.eml"
    letter.write_text(f"From: {MARTIN}\nSubject: patient {INS}\n\n{INS}\n")
    for to in (f"{INS}@patient.mssante.fr", f"{CORSICAN}@patient.mssante.fr", "x@b.mssante.fr"):
        for _ in range(3):
            await site.later(
                "message", "send", str(letter), "--from", MARTIN, "--to", to, "--envid", INS
            )
    await until(waits)


STEER = (
    ("summary",),
    ("list",),
    ("show", "1"),
    ("show", "4"),
    ("hold", "--recipient", f"{INS}@patient.mssante.fr", "--reason", f"patient {FORMS[1]}"),
    ("hold", "--domain", "b.mssante.fr", "--reason", f"le {CORSICAN}"),
    ("hold", "--all", "--reason", "x", "--as", f"Dr {INS}", "--password-file", os.devnull),
    ("list", "--state", "held"),
    ("show", "1"),
    ("rules", "add", "--recipient", f"{INS}@*", "--reason", f"ticket {INS}"),
    ("rules", "list"),
    ("pause", "b.mssante.fr", "--reason", f"pour {FORMS[2]}"),
    ("summary",),
    ("retry", "--all"),
    ("resume", "b.mssante.fr", "--reason", FORMS[5]),
    ("release", "--all", "--reason", FORMS[6]),
    ("hold", "--recipient", FORMS[1], "--reason", "x"),
    ("drop", "--domain", "patient*", "--reason", f"spam {INS}", "--yes"),
    ("drop", "--id", INS, "--reason", "x"),
    ("list",),
    ("summary",),
)


async def steer(site: Site) -> None:
    for words in STEER:
        await site.later("queue", *words)
        if words[0] in {"list", "show", "summary", "rules"} and words[1:2] != ("add",):
            await site.later("queue", *words, "--json")
    await site.later("message", "list", MARTIN)
    await site.later("message", "list", MARTIN, "--json")
    with site.daemon.store() as store, store.database.read() as connection:
        rows = connection.execute(select(messages.c.id, messages.c.session)).all()
    for number, session in rows[:: max(len(rows) // 5, 1)]:
        for more in ((), ("--json",)):
            await site.later("trace", number, *more)
            await site.later("trace", session, *more)
            await site.later("message", "show", number, *more)
    for others in (
        ("trace", INS),
        ("message", "list", f"{INS}@a.mssante.fr"),
        ("mailbox", "add", f"{INS}@a.mssante.fr", "--type", "PER", "--rpps", INS),
        ("mailbox", "add", "p@a.mssante.fr", "--type", "APP", "--finess", "750000002",
         "--description", f"labo de {FORMS[1]}"),
        ("mailbox", "list"),
        ("mailbox", "show", "p@a.mssante.fr", "--json"),
        ("domain", "add", f"{INS} {INS}"),
        ("store", "check"),
        (f"--{INS}",),
    ):  # fmt: skip
        await site.later(*others)


@pytest.mark.parametrize("style", ["console", "json"])
async def test_no_output_names_a_patient(tmp_path: Path, style: str) -> None:
    said = tuple(f"450 4.1.1 utilisateur {form} inconnu" for form in FORMS * 4)
    wrong = tuple(f"550 5.1.1 <{INS}> {WRONG_KEY} {form}" for form in FORMS * 40)
    site = await asyncio.to_thread(Site, tmp_path, style)
    peer = ScriptedPeer(context_of(site.daemon, "b"), {"RCPT": said + wrong})
    async with running(peer) as server:
        site.route(server.port)
        with served(site.daemon):
            await asyncio.to_thread(speak_as_a_peer, site.daemon)
            await send_to_patients(site, lambda: len(server.said("RCPT")) >= 9)
            await steer(site)
            for name, text in (await asyncio.to_thread(site.outputs)).items():
                assert len(text) > 1000, name
                assert found_in(text) == [], _about(text)
                assert "***" in text or name == "metrics", name
            await asyncio.to_thread(site.daemon.stop)
    assert found_in(site.daemon.log()) == []


def _about(text: str) -> str:
    """Lines that show a patient, for the failure message."""
    return "\n".join(line for line in text.splitlines() if found_in(line))[:3000]
