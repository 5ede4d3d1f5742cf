"""Filters match the same in SQL on both databases and in Python."""

from datetime import timedelta
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import literal, select

from mailstore.db.database import Database
from relay.queue.schema import deliveries
from relay.queue_admin.filter import DeliveryFilter, DeliveryStatus, like, masked
from tests.support.clock import NOW
from tests.support.delivery.queued import INS, PATIENT, Letter, message_id, put

HOUR = timedelta(hours=1)
LETTERS = (
    Letter(),
    Letter(sender="Labo_1@a.mssante.fr", mailbox_type="APP", age=HOUR),
    Letter(domain="chu.c.mssante.fr", to=("x%y@chu.c.mssante.fr", "DR.Zo@chu.c.mssante.fr")),
    Letter(sender="", mailbox_type=None, held="look at it", age=2 * HOUR),
    Letter(domain="patient.mssante.fr", to=(PATIENT,), state="failed"),
    Letter(
        to=("had.it@b.mssante.fr", "waits@b.mssante.fr"),
        recipient_states={"had.it@b.mssante.fr": "delivered"},
    ),
    Letter(sender="laboX1@a.mssante.fr", state="failed", held="and failed then"),
)


def found(database: Database, wanted: DeliveryFilter) -> list[int]:
    with database.read() as connection:
        statement = select(deliveries.c.id).where(*wanted.conditions(NOW))
        return sorted(connection.execute(statement).scalars())


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (DeliveryFilter(), [1, 2, 3, 4, 5, 6, 7]),
        (DeliveryFilter(domain="B.mssante.fr"), [1, 2, 4, 6, 7]),
        (DeliveryFilter(domain="*.c.mssante.FR"), [3]),
        (DeliveryFilter(domain="?.mssante.fr"), [1, 2, 4, 6, 7]),
        (DeliveryFilter(domain="mssante.fr"), []),
        (DeliveryFilter(sender="CLAIRE@*"), [1, 3, 5, 6]),
        (DeliveryFilter(sender="labo_1@a.mssante.fr"), [2]),
        (DeliveryFilter(sender="labo_1@*"), [2]),  # an underscore is not any character
        (DeliveryFilter(sender="labo?1@*"), [2, 7]),
        (DeliveryFilter(sender="<>"), [4]),
        (DeliveryFilter(sender="*"), [1, 2, 3, 4, 5, 6, 7]),
        (DeliveryFilter(of_domains=frozenset({"a.mssante.fr"})), [1, 2, 3, 5, 6, 7]),
        # Named here: the order in the text of a set changes from process to process.
        pytest.param(
            DeliveryFilter(of_domains=frozenset({"mssante.fr", "b.mssante.fr"})),
            [],
            id="of two domains",
        ),
        (DeliveryFilter(of_domains=frozenset()), []),
        (DeliveryFilter(recipient="dr*"), [1, 2, 3, 4, 7]),
        (DeliveryFilter(recipient="x%y@*"), [3]),
        (DeliveryFilter(recipient="x%@*"), []),
        (DeliveryFilter(recipient="/*"), []),
        (DeliveryFilter(recipient=f"{INS[:6]}*"), [5]),
        (DeliveryFilter(recipient="had.it@b.mssante.fr"), []),  # it has the message already
        (DeliveryFilter(recipient="waits@b.mssante.fr"), [6]),
        (DeliveryFilter(mailbox_type="APP"), [2]),
        (DeliveryFilter(older=HOUR), [2, 4]),
        (DeliveryFilter(younger=HOUR), [1, 3, 5, 6, 7]),
        (DeliveryFilter(older=HOUR, younger=2 * HOUR), [2]),
        (DeliveryFilter(ids=(1, 3, 99)), [1, 3]),
        (DeliveryFilter(messages=(message_id(2),)), [2]),
        (DeliveryFilter(ids=(1,), messages=(message_id(2),)), [1, 2]),
        (DeliveryFilter(state=DeliveryStatus.WAITING), [1, 2, 3, 6]),
        (DeliveryFilter(state=DeliveryStatus.HELD), [4]),
        (DeliveryFilter(state=DeliveryStatus.FAILED), [5, 7]),
        (DeliveryFilter(domain="b*", sender="claire*", recipient="waits*"), [6]),
        (DeliveryFilter(domain="b*", mailbox_type="ORG"), []),
    ],
    ids=str,
)
def test_what_it_matches(database: Database, wanted: DeliveryFilter, numbers: list[int]) -> None:
    assert put(database, *LETTERS) == [1, 2, 3, 4, 5, 6, 7]
    assert found(database, wanted) == numbers


_ALPHABET = st.text("aB%_/\\*?.@é", max_size=6)


def test_a_pattern_is_that_of_the_shell_without_brackets(database: Database) -> None:
    @given(_ALPHABET, _ALPHABET)
    def same(pattern: str, text: str) -> None:
        with database.read() as connection:
            said = connection.scalar(select(like(literal(text), pattern)))
        assert bool(said) is fnmatchcase(text.lower(), pattern.lower())

    same()


class TestMasked:
    @pytest.mark.parametrize(
        ("pattern", "shown"),
        [
            (PATIENT, "***@patient.mssante.fr"),
            (f"{INS[:5]}*@PATIENT.mssante.fr", "***@PATIENT.mssante.fr"),
            (f"{INS[:5]}*", "***"),
            (f"*{INS[8:]}*@*", "***@*"),
            (f"{INS}@p*", "***@p*"),
            ("claire*", "claire*"),
            ("dr.2@b.mssante.fr", "dr.2@b.mssante.fr"),
            ("*@patient.mssante.fr", "*@patient.mssante.fr"),
            ("<>", "<>"),
        ],
    )
    def test_no_part_of_an_ins(self, pattern: str, shown: str) -> None:
        assert masked(pattern) == shown

    def test_the_conditions_as_texts(self) -> None:
        wanted = DeliveryFilter(
            domain="b*",
            sender="<>",
            recipient=PATIENT,
            mailbox_type="APP",
            older=HOUR,
            younger=2 * HOUR,
            ids=(1, 2),
            messages=(message_id(3),),
            state=DeliveryStatus.HELD,
        )
        assert wanted.texts == [
            "domain=b*",
            "sender=<>",
            "recipient=***@patient.mssante.fr",
            "type=APP",
            "older=3600s",
            "younger=7200s",
            f"id=1,2,{message_id(3)}",
            "state=held",
        ]
        assert DeliveryFilter().texts == ["all"]
