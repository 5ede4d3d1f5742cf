"""Nothing of health mail stands in clear: not in files of the data folder, not in a database's.

Made-up words in subject, names, file names and text, and made-up patients as sender and recipient,
go through a daemon; others are a note, a folder's name and a keyword. Then every file is searched
for them, in several encodings.
"""

import base64
import quopri
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path

import pytest

from mailstore.blobs.store import Store
from mailstore.folders.flags import FlagMode
from mailstore.folders.lock import lock_mailbox
from mailstore.mail.reader import open_reader
from mailstore.mail.view import MailboxView, open_mailbox
from mailstore.mail.view_facts import NewMessage
from mailstore.mailboxes.mailboxes import get_mailbox
from mailstore.sealed.draft import Draft
from mailstore.sealed.row_seal import RowSeal
from mailstore.search import criteria as c
from mailstore.search.criteria import Field
from mailstore.summary_store.blocks import FEW, make_next_block
from mailstore.teams.notes import add_note, remove_note
from mssante_operator.assembly.clock import utc_now
from tests.support.db.databases import PostgresServer
from tests.support.ids import make_id
from tests.support.lists.list_files import put, signed
from tests.support.machines.daemon import Daemon, client, lay_out, served
from tests.support.waiting import until_now

MARTIN = "claire.martin@a.mssante.fr"
SENDER, RECIPIENT = "179022A98765433", "279035121518989"  # made up
IN_MAIL = ("Zygomorphèze", "Quetzalbourg", "Jabberwocque", "Wuthergrange", SENDER, RECIPIENT)
NOTE, FOLDER, KEYWORD = "Xylophorbe", "Vermillonière", "Kwartzerol"
WORDS = (*IN_MAIL, NOTE, FOLDER, KEYWORD)
SIZES = (1, 100_000, 600_000)  # in the database; in a file; spilled while it arrives
CLOSED = "127.0.0.1:1"  # no server listens there


def forms(word: str) -> set[bytes]:
    """A word as it may stand in a file."""
    octets = word.encode()
    found = {octets, word.encode("utf-16-le"), word.encode("utf-16-be")}
    found |= {word.upper().encode(), word.lower().encode(), octets.hex().encode()}
    found.add(quopri.encodestring(octets))
    for shift in range(3):
        coded = base64.b64encode(bytes(shift) + octets)
        # The characters that neighbours share octets with are left out.
        found.add(coded[(0, 2, 3)[shift] : len(coded) // 4 * 4 - 4])
    return found


def hits(octets: bytes) -> set[str]:
    """The words that stand in some octets."""
    return {word for word in WORDS for form in forms(word) if form in octets}


def hits_in(folders: Iterable[Path]) -> dict[str, set[str]]:
    """The words in each file below folders; files that vanish meanwhile are left out."""
    found: dict[str, set[str]] = {}
    for folder in folders:
        for path in folder.rglob("*"):
            try:
                here = hits(path.read_bytes()) if path.is_file() else set()
            except FileNotFoundError:
                continue
            if here | hits(path.name.encode()):
                found[str(path)] = here | hits(path.name.encode())
    return found


def letter(size: int) -> bytes:
    """A message with each of the words."""
    made = EmailMessage()
    made["From"] = f"{WORDS[1]} <{SENDER}@patient.mssante.fr>"
    made["To"] = MARTIN
    made["Subject"] = f"Compte rendu {WORDS[0]} {RECIPIENT}"
    made.set_content(f"{WORDS[2]} {RECIPIENT}\n" * (1 + size // 100), cte="quoted-printable")
    made.add_attachment(
        f"{WORDS[2]} {SENDER}".encode() * (1 + size // 200),
        maintype="application",
        subtype="pdf",
        filename=f"{WORDS[3]} {SENDER}.pdf",
    )
    return made.as_bytes().replace(b"\n", b"\r\n")


@pytest.mark.parametrize("shift", range(3))
def test_the_search_finds_each_form(shift: int) -> None:
    for word in WORDS:
        octets = word.encode()
        for seen in (
            b"x" + octets,
            word.encode("utf-16-le"),
            b"\0" * shift + word.encode("utf-16-be"),
            base64.b64encode(b"x" * shift + octets + b"and more"),
            quopri.encodestring(octets),
        ):
            assert word in hits(seen)
    for size in SIZES:
        assert hits(letter(size)) == set(IN_MAIL)


@contextmanager
def daemon_on(folder: Path, database: str) -> Iterator[Daemon]:
    """A running daemon; patients are at a peer that takes no mail."""
    made = lay_out(folder / "a", "a", {"patient.mssante.fr": CLOSED})
    if database:
        text = made.config.read_text()
        assert "[storage]\n" in text
        made.config.write_text(
            text.replace("[storage]\n", f'[storage]\ndatabase = "{database}"\n', 1)
        )
        made.run("db", "upgrade")
        made.run("domain", "add", "a.mssante.fr")
        made.run("mailbox", "add", MARTIN, "--type", "PER", "--rpps", "10000001916")
    put(made, signed(1, a="a", b="b", c="c", patient="b"))
    made.run("whitelist", "refresh")
    with served(made):
        yield made


def use(daemon: Daemon, outside: Path) -> None:
    """Send and receive, list, search and act: all that may write a patient's address."""
    for size in SIZES:
        with client(daemon, "b") as smtp:
            smtp.ehlo(f"{RECIPIENT}.b.mssante.fr")  # a host named after a patient
            smtp.mail(f"{SENDER}@patient.mssante.fr", [f"ENVID=v{SENDER}"])
            smtp.rcpt(MARTIN, [f"ORCPT=rfc822;{RECIPIENT}+40patient.mssante.fr"])
            assert smtp.data(letter(size))[0] == 250
        file = outside / "letter.eml"
        file.write_bytes(
            letter(size).replace(f"{SENDER}@patient.mssante.fr".encode(), MARTIN.encode())
        )
        to = f"{RECIPIENT}@patient.mssante.fr"
        daemon.run("message", "send", str(file), "--from", MARTIN, "--to", to, "--envid", RECIPIENT)
    until_now(lambda: "127.0.0.1" in daemon.run("queue", "list", "--domain", "patient*"))
    daemon.run("queue", "hold", "--recipient", to, "--reason", f"patient {RECIPIENT}")
    daemon.run("queue", "rules", "add", "--recipient", to, "--reason", "ticket")
    daemon.run("message", "list", MARTIN)


def work_on_mailbox(store: Store) -> None:
    """Look, file, flag, note, search: all that a client and a team may write, and take away."""
    seal = RowSeal(store.blobs.blob_format.keys)
    with store.database.read() as conn:
        box = get_mailbox(conn, MARTIN).id
    view = open_mailbox(store, box, seal, utc_now)
    inbox, folder = view.folders()[0].id, view.create_folder(FOLDER).id
    removed = view.create_folder(f"{FOLDER} 2").id
    view.set_flags(inbox, [1, 2], FlagMode.ADD, [KEYWORD])
    view.copy(inbox, [1], folder)
    view.copy(inbox, [1, 2], removed)
    view.remove_folder(removed)
    draft = view.draft()
    draft.write(letter(1))
    view.append(folder, [NewMessage(make_id(), draft, (KEYWORD,))])
    first, *_ = (one.message_id for one in view.messages(inbox))
    for text in (NOTE, f"{NOTE} 2"):
        with store.database.write() as conn:
            made = add_note(lock_mailbox(conn, box), seal, first, 1, text, now=utc_now())
    with store.database.write() as conn:
        remove_note(lock_mailbox(conn, box), made.id, now=utc_now())
    reader = open_reader(store, box, seal)
    assert reader.search(c.Holds(Field.SUBJECT, WORDS[0]))
    assert reader.search(c.Holds(Field.ATTACHMENTS, WORDS[3]))
    assert reader.search(c.AnyText(WORDS[2]))
    plenty = [NewMessage(make_id(), _small(view)) for _ in range(FEW)]
    view.append(inbox, plenty)
    assert make_next_block(store, seal, box)


def _small(view: MailboxView) -> Draft:
    draft = view.draft()
    draft.write(letter(1))
    return draft


def read_mail(daemon: Daemon) -> None:
    """The mail is there, and can be read with its addresses; then it is worked on."""
    entries = daemon.entries(MARTIN)
    assert [one.message.sender for one in entries] == [f"{SENDER}@patient.mssante.fr"] * len(SIZES)
    assert [hits(daemon.body(one)) for one in entries] == [set(IN_MAIL)] * len(SIZES)
    with daemon.store() as store:
        work_on_mailbox(store)


def test_nothing_of_mail_is_in_clear_in_any_file_on_sqlite(tmp_path: Path) -> None:
    with daemon_on(tmp_path, "") as daemon:
        use(daemon, tmp_path)
        read_mail(daemon)
        assert hits_in([daemon.folder]) == {}  # with the log (WAL) of the database
        daemon.kill()
        assert hits_in([daemon.folder]) == {}
        daemon.start()
    assert hits_in([daemon.folder]) == {}


def test_nothing_of_mail_is_in_clear_in_any_file_on_postgresql(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    name = postgres_server.create()
    url = postgres_server.url(name)
    try:
        with daemon_on(tmp_path, url) as daemon:
            use(daemon, tmp_path)
            read_mail(daemon)
            postgres_server.execute("CHECKPOINT")
            assert hits_in([daemon.folder, Path(postgres_server.server.pgdata)]) == {}
    finally:
        postgres_server.drop(name)
