"""The queue as operators read it, on both databases."""

from datetime import timedelta

import pytest

from mailstore.db.database import Database
from relay.queue_admin.filter import DeliveryFilter, DeliveryStatus
from relay.queue_admin.views import DestinationSummary, RecipientDetail, listing, show, summary
from tests.support.clock import NOW
from tests.support.delivery.queued import Letter, know, message_id, put

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DUE = NOW + HOUR  # of deliveries made by `put`


def lines(database: Database, wanted: DeliveryFilter | None = None) -> list[DestinationSummary]:
    with database.read() as connection:
        return summary(connection, wanted or DeliveryFilter(), NOW)


class TestSummary:
    def test_by_destination_the_longest_wait_first(self, database: Database) -> None:
        put(
            database,
            Letter(last_error="450 later"),
            Letter(age=HOUR, lease=MINUTE),
            Letter(held="why"),
            Letter(state="failed"),
            Letter(domain="c.mssante.fr", age=2 * HOUR),
        )
        c, b = lines(database)
        assert b == DestinationSummary(
            domain="b.mssante.fr",
            state="active",
            waiting=2,
            in_flight=1,
            held=1,
            failed=1,
            oldest=NOW - HOUR,
            age=3600,
            next_attempt=DUE,
            last_error="450 later",
            paused=None,
            dead_until=None,
        )
        assert (c.domain, c.waiting, c.age, c.last_error) == ("c.mssante.fr", 1, 7200, "")

    def test_no_age_is_negative(self, database: Database) -> None:
        put(database, Letter(age=-60 * 24 * HOUR))  # queued by a clock that was ahead
        (one,) = lines(database)
        assert one.age == 0

    def test_what_a_filter_matches(self, database: Database) -> None:
        put(database, Letter(), Letter(mailbox_type="APP"), Letter(domain="c.mssante.fr"))
        know(database, "d.mssante.fr", paused="why")
        assert [
            (one.domain, one.waiting) for one in lines(database, DeliveryFilter(mailbox_type="APP"))
        ] == [("b.mssante.fr", 1)]

    def test_a_dead_destination(self, database: Database) -> None:
        put(database, Letter(last_error="450 later"), Letter(domain="c.mssante.fr"))
        for domain, until in (("b.mssante.fr", DUE + MINUTE), ("c.mssante.fr", NOW - MINUTE)):
            know(database, domain, failures=9, dead_until=until, last_error="no route")
        know(database, "unqueued.mssante.fr", failures=9, dead_until=DUE)
        b, c = lines(database)
        assert (b.state, b.dead_until, b.last_error) == ("dead", DUE + MINUTE, "no route")
        assert b.next_attempt == DUE + MINUTE
        # After that moment it is tried like any other.
        assert (c.state, c.dead_until, c.next_attempt) == ("active", None, DUE)

    def test_a_paused_one_even_with_nothing_queued(self, database: Database) -> None:
        put(database, Letter())
        know(database, "b.mssante.fr", paused="they asked", dead_until=DUE)
        know(database, "z.mssante.fr", paused="forgotten")
        b, z = lines(database)
        assert (b.state, b.paused, b.next_attempt) == ("paused", "they asked", None)
        assert (z.domain, z.state, z.paused, z.oldest, z.age) == (
            "z.mssante.fr", "paused", "forgotten", None, None,
        )  # fmt: skip

    def test_everything_paused(self, database: Database) -> None:
        put(database, Letter(), Letter(domain="c.mssante.fr", age=MINUTE))
        know(database, "*", paused="maintenance")
        know(database, "b.mssante.fr", paused="they asked")
        assert [(one.domain, one.state, one.paused) for one in lines(database)] == [
            ("c.mssante.fr", "paused", "maintenance"),
            ("b.mssante.fr", "paused", "they asked"),
            ("*", "paused", "maintenance"),
        ]

    def test_nothing(self, database: Database) -> None:
        know(database, "b.mssante.fr", failures=2, dead_until=DUE)
        assert lines(database) == []


def test_list_is_oldest_first_filtered_and_limited(database: Database) -> None:
    put(
        database,
        Letter(),
        Letter(
            age=HOUR,
            lease=MINUTE,
            to=("x@b.mssante.fr", "y@b.mssante.fr"),
            recipient_states={"x@b.mssante.fr": "delivered"},
        ),
        Letter(age=2 * HOUR, held="why"),
        Letter(age=3 * HOUR, state="failed"),
    )
    with database.read() as connection:
        found = listing(connection, DeliveryFilter(), NOW, 10)
        assert [one.id for one in found] == [4, 3, 2, 1]
        assert [one.state for one in found] == ["failed", "held", "waiting", "waiting"]
        assert [one.in_flight for one in found] == [False, False, True, False]
        assert (found[1].held, found[2].recipients) == ("why", ("y@b.mssante.fr",))
        assert (found[0].message_id, found[0].size) == (message_id(4), 10)
        assert [one.id for one in listing(connection, DeliveryFilter(), NOW, 1)] == [4]
        held = DeliveryFilter(state=DeliveryStatus.HELD)
        assert [one.id for one in listing(connection, held, NOW, 10)] == [3]


@pytest.mark.parametrize(
    ("own", "everywhere", "paused"),
    [("own", "all", "own"), (None, "all", "all"), (None, None, None)],
)
def test_show_tells_all(
    database: Database, own: str | None, everywhere: str | None, paused: str | None
) -> None:
    (key,) = put(
        database,
        Letter(
            lease=MINUTE,
            to=("x@b.mssante.fr",),
            columns={"envid": "E1", "ret": "HDRS", "delay_told": True},
            recipient_columns={"notify": "NEVER", "orcpt": "rfc822;o", "reply": "450 later"},
        ),
    )
    know(database, "b.mssante.fr", paused=own, dead_until=DUE)
    know(database, "*", paused=everywhere)
    with database.read() as connection:
        (one,) = show(connection, DeliveryFilter(messages=(message_id(1),)), NOW)
        assert show(connection, DeliveryFilter(ids=(key + 1,)), NOW) == []
    assert (one.id, one.envid, one.ret, one.delay_told) == (key, "E1", "HDRS", True)
    assert (one.lease_owner, one.lease_until, one.in_flight) == ("node:1", NOW + MINUTE, True)
    assert (one.paused, one.dead_until) == (paused, DUE)
    assert one.recipients == (
        RecipientDetail("x@b.mssante.fr", "waiting", "450 later", "NEVER", "rfc822;o"),
    )


def test_a_view_of_some_domains_has_no_reason_and_no_error_of_others(database: Database) -> None:
    put(
        database,
        Letter(last_error="450 ours", held="secret"),
        Letter(sender="x@c.mssante.fr", last_error="550 secret", age=HOUR),
    )
    know(database, "b.mssante.fr", last_error="550 secret", paused="secret", failures=1)
    wanted = DeliveryFilter(of_domains=frozenset({"a.mssante.fr"}))
    with database.read() as connection:
        (line,) = summary(connection, wanted, NOW)
        (one,) = listing(connection, wanted, NOW, 9)
        (whole,) = show(connection, wanted, NOW)
    assert "secret" not in repr((line, one, whole))
    assert (line.held, line.last_error, line.paused, line.oldest) == (1, "450 ours", "***", NOW)
    assert (one.state, one.held) == (DeliveryStatus.HELD, "***")
    assert (whole.held, whole.paused) == ("***", "***")
