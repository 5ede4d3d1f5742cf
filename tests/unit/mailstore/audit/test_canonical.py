"""Canonical form: unambiguous, storable on both databases, for any octets in a name."""

import json
from dataclasses import astuple, fields, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstore.audit.canonical import LONGEST, AuditRow, facts_text, form, row_of, writable
from mailstore.audit.event import AuditActor, AuditEvent, Door, Result
from tests.support.audit.trails import event
from tests.support.clock import NOW

NUMBERS = st.integers(min_value=-(2**63), max_value=2**63 - 1)
TEXTS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=6)
ANY_TEXTS = st.text(st.characters(), max_size=8)  # with NUL, surrogates, invisible ones
ROWS = st.builds(
    AuditRow,
    *(
        {"int": NUMBERS, "int | None": st.none() | NUMBERS, "str": TEXTS}.get(
            str(getattr(one.type, "__name__", one.type)), st.none() | TEXTS
        )
        for one in fields(AuditRow)
    ),
)


@given(ROWS, ROWS)
def test_two_different_rows_never_have_one_form(one: AuditRow, other: AuditRow) -> None:
    assert (form(one) == form(other)) == (one == other)


@given(ROWS, st.data())
def test_text_that_moves_to_the_next_column_changes_the_form(
    row: AuditRow, data: st.DataObject
) -> None:
    names = ["account", "unix_user", "door", "origin", "mailbox", "message", "subject"]
    at = data.draw(st.integers(0, len(names) - 2))
    whole = data.draw(TEXTS)
    cuts = data.draw(st.tuples(*[st.integers(0, len(whole))] * 2))
    parts: list[dict[str, Any]] = [
        {names[at]: whole[:cut], names[at + 1]: whole[cut:]} for cut in cuts
    ]
    one, other = (replace(row, **part) for part in parts)
    assert (form(one) == form(other)) == (one == other)


@given(ANY_TEXTS, ANY_TEXTS)
def test_two_different_texts_are_stored_differently(one: str, other: str) -> None:
    assert (writable(one) == writable(other)) == (one == other)


@given(ANY_TEXTS)
def test_what_is_stored_is_printable_text(text: str) -> None:
    stored = writable(text)
    stored.encode()
    assert "\x00" not in stored
    assert writable(stored).replace("\\\\", "\\") == stored


@pytest.mark.parametrize("text", ["x" * (LONGEST + 1), "\x00" * LONGEST, "é" * 10_000])
def test_endless_texts_are_cut_and_stay_different(text: str) -> None:
    stored = writable(text)
    assert len(stored) <= LONGEST + 17
    assert stored != writable(text + "y")
    assert len(stored.encode()) < 2_700


def test_patients_identifiers_are_masked() -> None:
    row = row_of(
        event(mailbox="255069109876563@patient.mssante.fr", facts={"to": "2 55 06 91 098 765 63"}),
        1,
        1,
    )
    assert "255069109876563" not in str(row)
    assert "765" not in row.facts


FACTS = st.dictionaries(
    st.text("abc_", min_size=1, max_size=3),
    st.none() | st.booleans() | st.integers(-9, 9) | ANY_TEXTS,
    max_size=3,
)


@given(FACTS, FACTS)
def test_two_different_sets_of_facts_are_two_texts(one: Any, other: Any) -> None:
    # True == 1 in Python, but not here.
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (facts_text(one) == facts_text(other)) == same
    assert facts_text(one).isascii()


def test_facts_have_sorted_keys_and_times_in_iso_8601() -> None:
    facts: dict[str, Any] = {"ends_at": NOW, "days": 3, "all": True, "by": None, "alias": "é"}
    assert facts_text(facts) == (
        '{"alias":"\\u00e9","all":true,"by":null,"days":3,'
        '"ends_at":"2026-11-22T10:11:12.131415+00:00"}'
    )


def test_a_row_has_each_part_of_its_event() -> None:
    actor = AuditActor(account="a", unix_user="u", door=Door.IMAP, origin="192.0.2.1")
    made = AuditEvent(
        at=datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
        event="message.read",
        actor=actor,
        result=Result.REFUSED,
        tenant=7,
        mailbox="m@x.fr",
        message="0" * 32,
        subject="s",
        facts={"f": 1},
    )
    assert astuple(row_of(made, 3, 4)) == (
        *(3, 4, 1_000_000, "message.read", "refused", 7, "a", "u", "imap", "192.0.2.1"),
        *("m@x.fr", "0" * 32, "s", '{"f":1}'),
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Closed"},
        {"name": "mailbox"},
        {"name": "mailbox.closed\n"},
        {"name": "a." + "b" * 64},
        {"message": "short"},
        {"message": "A" * 32},
        {"at": datetime(2026, 1, 1)},  # noqa: DTZ001 - the point
        {"facts": {"ends_at": datetime(2026, 1, 1)}},  # noqa: DTZ001 - the point
    ],
)
def test_malformed_events_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"name of an event|of a message|naive"):
        event(**wrong)


@pytest.mark.parametrize("value", [b"octets", 1.5, 2**63])
def test_values_that_no_writer_of_ours_stores_have_no_form(value: Any) -> None:
    row = row_of(event(), 1, 1)
    with pytest.raises((ValueError, OverflowError)):
        form(replace(row, tenant_id=value))
