"""What is dropped is gone, on both databases, and its report is there in that very moment."""

from collections.abc import Collection, Sequence

import pytest
from sqlalchemy import Connection, update

from mailstore.database import Database
from relay.queue import State
from relay.queue_drop import Drop, Dropped, DroppedRecipient
from relay.queue_filter import Filter
from relay.queue_pauses import pause
from relay.queue_schema import deliveries
from tests.support.clock import NOW
from tests.support.queued import (
    Letter,
    destination,
    message_id,
    perform,
    put,
    recipient_states,
    rows,
)

HELD = Letter(held="before")
FAILED = Letter(state="failed")


class Reported:
    """Reports that leave a row in the transaction for each delivery."""

    def __init__(self, *, fails: bool = False) -> None:
        self.prepared: list[Dropped] = []
        self.fails = fails

    def prepare(self, dropped: Sequence[Dropped]) -> None:
        self.prepared += dropped

    def keep(self, connection: Connection, ids: Collection[int]) -> None:
        for key in ids:
            pause(connection, f"reported-{key}.mssante.fr", "for the test")
        if self.fails:
            raise RuntimeError("no room")


class TestDrop:
    def test_rows_are_deleted(self, database: Database) -> None:
        kept, *dropped = put(database, Letter(domain="c.mssante.fr"), Letter(), HELD, FAILED)
        assert perform(database, Drop(), Filter(domain="b.mssante.fr")) == (dropped, 0)
        assert list(rows(database)) == [kept]
        assert recipient_states(database) == [(kept, "waiting")]

    def test_reports_get_all_they_need_before_and_are_kept_in_the_same_transaction(
        self, database: Database
    ) -> None:
        letter = Letter(
            to=("x@b.mssante.fr", "y@b.mssante.fr"),
            recipient_states={"y@b.mssante.fr": "delivered"},
            attempts=2,
            last_error="450 later",
            columns={"envid": "E1", "ret": "HDRS", "smtputf8": True},
            recipient_columns={"notify": "FAILURE", "orcpt": "rfc822;o", "reply": "450 later"},
        )
        put(database, letter)
        reports = Reported()
        assert perform(database, Drop(reports)) == ([1], 0)
        facts = ("450 later", "FAILURE", "rfc822;o")
        assert reports.prepared == [
            Dropped(
                1, message_id(1), "b.mssante.fr", "claire@a.mssante.fr", True, "E1", "HDRS", 2,
                NOW, "450 later",
                (
                    DroppedRecipient("x@b.mssante.fr", State.WAITING, *facts),
                    DroppedRecipient("y@b.mssante.fr", State.DELIVERED, *facts),
                ),
            )
        ]  # fmt: skip
        assert destination(database, "reported-1.mssante.fr") is not None

    def test_a_report_that_fails_leaves_the_delivery(self, database: Database) -> None:
        (key,) = put(database, Letter())
        with pytest.raises(RuntimeError, match="no room"):
            perform(database, Drop(Reported(fails=True)))
        assert list(rows(database)) == [key]
        assert destination(database, "reported-1.mssante.fr") is None

    def test_what_was_tried_since_its_report_is_left_alone(self, database: Database) -> None:
        tried, gone = put(database, Letter(attempts=1), Letter())

        class Slow(Reported):
            def prepare(self, dropped: Sequence[Dropped]) -> None:
                super().prepare(dropped)
                with database.write() as connection:
                    connection.execute(
                        update(deliveries).where(deliveries.c.id == tried).values(attempts=2)
                    )

        reports = Slow()
        assert perform(database, Drop(reports)) == ([gone], 1)
        assert list(rows(database)) == [tried]
        assert destination(database, "reported-1.mssante.fr") is None
        assert destination(database, "reported-2.mssante.fr") is not None
