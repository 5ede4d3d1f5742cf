"""Bulk import of mailboxes: each line added, changed, kept or refused (DOMAIN §9.32 to §9.40)."""

from datetime import timedelta
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, select

from mailstore.db.database import Database
from mailstore.db.schema import mailbox_holders
from mailstore.mailbox_import.bulk import carry_out, load_known
from mailstore.mailbox_import.csv_form import CsvLine, read_csv
from mailstore.mailbox_import.import_plan import COLUMNS, REQUIRED, Action, Known, PlannedLine, plan
from mailstore.mailboxes.aliases import add_alias
from mailstore.mailboxes.attributes import Attribute
from mailstore.mailboxes.holders import add_holders, holders_of
from mailstore.mailboxes.identifiers import LUHN_KINDS, Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.lifecycle import delete_mailbox
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox, get_mailbox, list_mailboxes
from mailstore.mailboxes.model import Mailbox
from tests.support.clock import NOW

RPPS = Identifier(IdentifierKind.RPPS, "10000001916")
OTHER = Identifier(IdentifierKind.RPPS, "10000005479")
FINESS = Identifier(IdentifierKind.FINESS, "750000002")
D = "@chu.mssante.fr"


@pytest.fixture
def hosted(database: Database) -> Database:
    """An ORG, a CAB with a co-holder, a deleted PER, and an alias."""
    named = {Attribute.RESPONSIBLE: "Anne Petit", Attribute.DESCRIPTION: "Urgences"}
    with database.write() as conn:
        add_domain(conn, "chu.mssante.fr", now=NOW)
        add_mailbox(conn, f"org{D}", MailboxType.ORG, FINESS, attributes=named, now=NOW)
        cab = add_mailbox(conn, f"cab{D}", MailboxType.CAB, RPPS, quota=5, now=NOW)
        add_holders(conn, cab, [OTHER], now=NOW)
        add_mailbox(conn, f"per{D}", MailboxType.PER, RPPS, structure=FINESS, now=NOW)
        add_mailbox(conn, f"parti{D}", MailboxType.PER, RPPS, now=NOW)
        delete_mailbox(conn, f"parti{D}", reason="x", grace=timedelta(days=1), now=NOW)
        add_alias(conn, f"org{D}", f"alias{D}", ends_at=NOW, now=NOW)
    return database


def planned(database: Database, text: str) -> list[PlannedLine]:
    lines = read_csv(text.encode(), COLUMNS, REQUIRED)
    with database.read() as conn:
        return plan(lines, load_known(conn, lines, LUHN_KINDS, lock=False))


def imported(database: Database, text: str) -> list[PlannedLine]:
    lines = read_csv(text.encode(), COLUMNS, REQUIRED)
    with database.write() as conn:
        found = plan(lines, load_known(conn, lines, LUHN_KINDS, lock=True))
        assert not [line for line in found if line.action is Action.REFUSE]
        carry_out(conn, found, NOW)
    return found


GOOD = f"""address;type;rpps;finess;holders;description;responsible;red_list;no_reply;quota;rank
Dr.A{D};PER;10000001916;;;;;oui;;2G;1
b{D};per;10000001916;750000002;;;;;;;
c{D};ORG;;750000002;;Salle 3;Anne Petit;;;;
d{D};ORG;10000001916;;;;Anne Petit;;;;
e{D};APP;;750000002;;Labo;;;yes;;
f{D};CAB;10000001916;;10000005479;;;;;;
"""


def test_each_type_is_added(hosted: Database) -> None:
    """DOMAIN §9.32, §9.36, §9.37, §9.40."""
    found = imported(hosted, GOOD)
    assert [(line.number, line.action) for line in found] == [(n, Action.ADD) for n in range(2, 8)]
    assert found[0].detail == "PER on RPPS 10000001916"
    with hosted.read() as conn:
        a, b, c, d, e, f = (get_mailbox(conn, f"{one}{D}") for one in ("dr.a", *"bcdef"))
        assert holders_of(conn, [one.id for one in (a, b, c, d, e, f)]) == {f.id: (OTHER.value,)}
    assert (a.address, a.type, a.identifier, a.created_at) == (
        *(f"Dr.A{D}", MailboxType.PER, RPPS, NOW),
    )
    assert (a.red_list, a.no_reply, a.rank, a.quota) == (True, False, 1, 2 * 2**30)
    assert (b.identifier, b.structure, b.red_list, b.quota) == (RPPS, FINESS, False, None)
    assert (c.description, c.responsible) == ("Salle 3", "Anne Petit")
    assert (d.type, d.identifier) == (MailboxType.ORG, RPPS)
    assert (e.type, e.no_reply) == (MailboxType.APP, True)
    # The same file once more changes nothing.
    assert {line.action for line in imported(hosted, GOOD)} == {Action.KEEP}


def test_what_exists_is_changed_where_a_cell_says_so(hosted: Database) -> None:
    text = f"""address,type,finess,description,responsible,holders,quota,rank
ORG{D},ORG,750000002,-,Jean Roux,,1M,
cab{D},,,,,-,-,3
per{D},,,,,,,
"""
    found = imported(hosted, text)
    assert [(line.action, line.detail) for line in found] == [
        (Action.CHANGE, "description, responsible, quota"),
        (Action.CHANGE, "rank, holders, quota"),
        (Action.KEEP, ""),
    ]
    with hosted.read() as conn:
        org, cab = get_mailbox(conn, f"org{D}"), get_mailbox(conn, f"cab{D}")
        assert holders_of(conn, [cab.id]) == {}
    assert (org.description, org.responsible, org.quota) == (None, "Jean Roux", 2**20)
    assert (cab.rank, cab.quota) == (3, None)
    found = imported(hosted, f"address,holders\ncab{D},{OTHER.value} {OTHER.value}\n")
    assert found[0].holders == (OTHER.value,)


@pytest.mark.parametrize(
    ("header", "line", "says"),
    [
        ("address", "x", "is not an address"),
        ("address", f"x{D}", "needs a type"),
        ("address,type", f"x{D},PHARM", "the type 'PHARM' is none of PER, ORG, APP, CAB"),
        ("address,type", f"x{D},PER", "needs one of rpps, adeli"),
        ("address,type,rpps", "x@z.mssante.fr,PER,10000001916", "z.mssante.fr is not hosted"),
        ("address,type,rpps", f"alias{D},PER,10000001916", "is or was an alias of org@"),
        ("address,type,rpps", "x@ chu.mssante.fr,PER,10000001916", "has a blank after the @"),
        ("address,type,rpps", "alias@ chu.mssante.fr,PER,10000001916", "has a blank"),
        ("address,type,rpps", f"x{D},PER,10000001917", "the check digit"),
        ("address,type,rpps", f"x{D},APP,10000001916", "cannot hang on RPPS"),
        ("address,type,rpps,finess", f"x{D},CAB,10000001916,750000002", "needs one of"),
        ("address,type,finess", f"x{D},ORG,750000002", "needs a responsible person"),
        ("address,type,rpps,service", f"x{D},PER,10000001916,y", "has no service"),
        ("address,type,rpps,rank", f"x{D},PER,10000001916,first", "rank 'first' is not a number"),
        ("address,type,rpps,red_list", f"x{D},PER,10000001916,?", "neither yes nor no"),
        ("address,type,rpps,quota", f"x{D},PER,10000001916,much", "is not a size"),
        ("address,type,rpps,holders", f"x{D},PER,10000001916,10000005479", "has no holders"),
        ("address,type,rpps,holders", f"x{D},CAB,10000001916,10000001916", "no co-holder"),
        ("address,type", f"org{D},APP", "the type of a mailbox never changes: it is ORG"),
        ("address,rpps", f"cab{D},10000005479", "the identifier of a mailbox never changes"),
        ("address,responsible", f"org{D},-", "needs a responsible person"),
        ("address,description", f"per{D},x", "a PER mailbox has no description"),
        ("address,rank", f"parti{D},1", "is deleted"),
        ("address,rank", f"per{D},1,2", "3 cells, and the header names 2"),
    ],
)
def test_a_wrong_line_is_refused(hosted: Database, header: str, line: str, says: str) -> None:
    """DOMAIN §9.32 to §9.38."""
    (found,) = planned(hosted, f"{header}\n{line}\n")
    assert found.action is Action.REFUSE
    assert says in found.detail


def test_an_address_is_named_once(hosted: Database) -> None:
    first, second = planned(hosted, f"address,rank\nper{D},1\nPER{D},2\n")
    assert (first.action, second.action) == (Action.CHANGE, Action.REFUSE)
    assert second.detail == "line 2 has the same address"


def test_long_texts_are_warned_of(hosted: Database) -> None:
    (found,) = planned(hosted, f"address,responsible\norg{D},{'x' * 46}\n")
    assert found.action is Action.CHANGE
    assert found.detail.startswith("responsible; responsible has 46 characters")


CELLS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", "-", "PER", "ORG", "CAB", "APP", "oui", "1", "10000001916", "750000002", "a@b.fr"]
    ),
)


@pytest.mark.fuzz
@given(st.lists(st.dictionaries(st.sampled_from(COLUMNS), CELLS), max_size=6))
def test_any_cells_are_planned_or_refused(cells: list[dict[str, str]]) -> None:
    lines = [CsvLine(number, one) for number, one in enumerate(cells, 2)]
    found = plan(lines, Known({}, {}, {"b.fr"}, LUHN_KINDS))
    assert [line.number for line in found] == [line.number for line in lines]
    for line in found:
        assert line.action in {Action.ADD, Action.REFUSE}
        if line.action is Action.ADD:
            assert line.parsed is not None
            assert line.parsed.domain == "b.fr"
            assert line.identifier is not None
        else:
            assert line.detail


def test_many_lines_take_few_statements(hosted: Database) -> None:
    """10 000 lines in under a minute: reading and adding go by 500."""
    text = "address,type,rpps\n" + "".join(f"m{n}{D},PER,10000001916\n" for n in range(1200))
    lines = read_csv(text.encode(), COLUMNS, REQUIRED)
    statements: list[str] = []
    with hosted.write() as conn:
        event.listen(conn, "before_cursor_execute", lambda *given: statements.append(given[2]))
        found = plan(lines, load_known(conn, lines, LUHN_KINDS, lock=True))
        carry_out(conn, found, NOW)
        listed: list[Mailbox] = list_mailboxes(conn, after=f"m0{D}", limit=2)
    assert len(found) == 1200
    assert len(statements) < 40
    assert [one.address for one in listed] == [f"m1000{D}", f"m1001{D}"]


def test_co_holders_who_stay_keep_their_date_domain_9_37(hosted: Database) -> None:
    """DOMAIN §9.37."""
    new = "10000002054"
    text = f"address,holders\ncab{D},{OTHER.value} {new}\n"
    lines = read_csv(text.encode(), COLUMNS, REQUIRED)
    later = NOW + timedelta(days=9)
    with hosted.write() as conn:
        known = load_known(conn, lines, frozenset(), lock=True)
        carry_out(conn, plan(lines, known), later)
        rows = conn.execute(select(mailbox_holders.c.rpps, mailbox_holders.c.since))
        assert dict(map(tuple, rows)) == {OTHER.value: NOW, new: later}
    with hosted.write() as conn:
        text = f"address,holders\ncab{D},{new}\n"
        lines = read_csv(text.encode(), COLUMNS, REQUIRED)
        carry_out(conn, plan(lines, load_known(conn, lines, frozenset(), lock=True)), later)
        assert list(conn.scalars(select(mailbox_holders.c.rpps))) == [new]


def test_an_alias_added_meanwhile_refuses_the_line_domain_9_34(hosted: Database) -> None:
    """DOMAIN §9.34: a dry run saw the address free; the import waits for who takes it first."""
    text = f"address,type,rpps\nneu{D},PER,10000001916\n"
    lines = read_csv(text.encode(), COLUMNS, REQUIRED)
    assert planned(hosted, text)[0].action is Action.ADD
    found: list[PlannedLine] = []

    def second() -> None:
        with hosted.write() as conn:
            found.extend(plan(lines, load_known(conn, lines, LUHN_KINDS, lock=True)))

    other = Thread(target=second)
    with hosted.write() as conn:
        add_alias(conn, f"org{D}", f"NEU{D}", ends_at=None, now=NOW)
        other.start()
        other.join(0.3)
        assert other.is_alive()
    other.join(30)
    assert [(line.action, "alias of org@" in line.detail) for line in found] == [
        (Action.REFUSE, True)
    ]
