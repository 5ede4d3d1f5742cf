"""Attributes of mailboxes by type (DOMAIN §1.4, §9.36, §9.38, U4)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstore.db.database import Database
from mailstore.errors import InvalidAttribute, NotFound
from mailstore.mailboxes.attributes import (
    LONGEST,
    TYPES,
    Attribute,
    Value,
    check_reason,
    check_values,
    directory_warnings,
    need_responsible,
)
from mailstore.mailboxes.changes import change_number
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox, get_mailbox, set_attributes
from tests.support.clock import NOW

FINESS = Identifier(IdentifierKind.FINESS, "750000002")
RPPS = Identifier(IdentifierKind.RPPS, "10000001916")
SAMPLES: dict[Attribute, Value] = {
    Attribute.DESCRIPTION: "Urgences adultes",
    Attribute.SERVICE: "Pôle urgences",
    Attribute.RESPONSIBLE: "Claire Martin",
    Attribute.RED_LIST: True,
    Attribute.RANK: 1,
    Attribute.NO_REPLY: True,
}
HAS = {
    MailboxType.PER: {Attribute.RED_LIST, Attribute.RANK},
    MailboxType.ORG: set(Attribute) - {Attribute.NO_REPLY},
    MailboxType.APP: set(Attribute),
    MailboxType.CAB: {Attribute.DESCRIPTION, Attribute.RED_LIST, Attribute.RANK},
}


@pytest.mark.parametrize("kind", list(MailboxType))
@pytest.mark.parametrize("attribute", list(Attribute))
def test_a_type_has_its_attributes_alone_domain_9_38(
    kind: MailboxType, attribute: Attribute
) -> None:
    """DOMAIN §9.38, U4."""
    values = {attribute: SAMPLES[attribute]}
    if attribute in HAS[kind]:
        assert check_values(kind, values) == values
        assert kind in TYPES[attribute]
        return
    with pytest.raises(InvalidAttribute, match=f"a {kind} mailbox has no {attribute}: only "):
        check_values(kind, values)


@pytest.mark.parametrize("name", ["phone", "digitization"])
def test_attributes_gone_from_the_directory_are_unknown(name: str) -> None:
    """DOMAIN U4: removed on 02/06/2026."""
    assert name not in {attribute.value for attribute in Attribute}


def test_texts_are_stripped_and_an_empty_one_takes_the_attribute_away() -> None:
    values = {Attribute.DESCRIPTION: "  a b ", Attribute.SERVICE: " ", Attribute.RANK: None}
    found = check_values(MailboxType.APP, values)
    assert found == {
        Attribute.DESCRIPTION: "a b",
        Attribute.SERVICE: None,
        Attribute.RANK: None,
    }


@pytest.mark.parametrize(
    ("attribute", "value", "says"),
    [
        (Attribute.RANK, 0, "not from 1"),
        (Attribute.RANK, -1, "not from 1"),
        (Attribute.RANK, 1000, "to 999"),
        (Attribute.DESCRIPTION, "a\nb", "invisible character or a line end"),
        (Attribute.DESCRIPTION, "a\0", "invisible"),
        (Attribute.SERVICE, "a\u202eb", "invisible"),
        (Attribute.RESPONSIBLE, "x" * (LONGEST + 1), "251 characters, and 250 are the most"),
    ],
)
def test_a_value_out_of_bounds_is_refused(attribute: Attribute, value: Value, says: str) -> None:
    with pytest.raises(InvalidAttribute, match=says):
        check_values(MailboxType.ORG, {attribute: value})


def test_an_org_mailbox_keeps_a_responsible_person_domain_9_36() -> None:
    """DOMAIN §9.36."""
    for nobody in (None, "", "  "):
        with pytest.raises(InvalidAttribute, match="needs a responsible person"):
            check_values(MailboxType.ORG, {Attribute.RESPONSIBLE: nobody})
    assert check_values(MailboxType.APP, {Attribute.RESPONSIBLE: None})
    for values in ({}, {Attribute.RESPONSIBLE: ""}):
        with pytest.raises(InvalidAttribute, match="needs a responsible person"):
            need_responsible(MailboxType.ORG, values)
    need_responsible(MailboxType.ORG, {Attribute.RESPONSIBLE: "Claire Martin"})
    for kind in set(MailboxType) - {MailboxType.ORG}:
        need_responsible(kind, {})


def test_texts_longer_than_in_the_directory_are_told() -> None:
    """Lengths of DOMAIN §1.4 come from a single weak source: no refusal."""
    fits = {
        Attribute.DESCRIPTION: "x" * 75,
        Attribute.SERVICE: "x" * 90,
        Attribute.RESPONSIBLE: "x" * 45,
    }
    assert list(directory_warnings(fits)) == []
    found = list(directory_warnings({name: f"{text}x" for name, text in fits.items()}))
    assert found == [
        "description has 76 characters: the national directory may cut it at 75",
        "service has 91 characters: the national directory may cut it at 90",
        "responsible has 46 characters: the national directory may cut it at 45",
    ]


@given(st.text())
def test_any_text_is_stored_or_refused(text: str) -> None:
    try:
        found = check_values(MailboxType.APP, {Attribute.DESCRIPTION: text})
    except InvalidAttribute:
        return
    stored = found[Attribute.DESCRIPTION]
    assert stored is None or stored == text.strip()
    assert "\0" not in (stored or "")  # PostgreSQL refuses it
    str(stored).encode()


def test_a_reason_is_needed() -> None:
    assert check_reason(" départ ") == "départ"
    for empty in ("", "  "):
        with pytest.raises(InvalidAttribute, match="reason is empty"):
            check_reason(empty)


def test_attributes_change_and_address_and_type_do_not_domain_9_33(database: Database) -> None:
    """DOMAIN §9.33, §9.38."""
    with database.write() as conn:
        add_domain(conn, "chu.mssante.fr", now=NOW)
        added = add_mailbox(
            conn,
            "labo@chu.mssante.fr",
            MailboxType.APP,
            FINESS,
            attributes={Attribute.DESCRIPTION: "Labo", Attribute.RED_LIST: True},
            now=NOW,
        )
        number = change_number(conn)
        changed = set_attributes(
            conn, "LABO@chu.mssante.fr", {**SAMPLES, Attribute.RED_LIST: False}
        )
        assert change_number(conn) != number
    assert (added.description, added.red_list, added.no_reply) == ("Labo", True, False)
    assert changed.address == added.address
    assert changed.type is added.type
    found = {name: getattr(changed, name) for name in Attribute}
    assert found == {**SAMPLES, Attribute.RED_LIST: False}
    with database.read() as conn:
        assert get_mailbox(conn, added.address) == changed
    with pytest.raises(NotFound), database.write() as conn:
        set_attributes(conn, "x@chu.mssante.fr", {})


def test_a_refused_attribute_leaves_the_mailbox_as_it_was(database: Database) -> None:
    with database.write() as conn:
        add_domain(conn, "chu.mssante.fr", now=NOW)
        added = add_mailbox(conn, "a@chu.mssante.fr", MailboxType.PER, RPPS, now=NOW)
    with pytest.raises(InvalidAttribute), database.write() as conn:
        set_attributes(conn, added.address, {Attribute.RANK: 2, Attribute.SERVICE: "x"})
    with database.read() as conn:
        assert get_mailbox(conn, added.address) == added
