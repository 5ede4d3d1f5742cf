"""A result that cannot be recorded does not affect the other results, on both databases."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import pytest
from sqlalchemy import delete

from mailstore.blobs.file_store import FileBlobStore
from mailstore.db.database import Database
from mailstore.db.schema import mailboxes
from mailstore.errors import StoreUnavailable
from mailstore.sealed.draft import Draft
from relay.delivery.iteration_commit import Committed, PendingWrites
from relay.dsn.writer import DsnWriter, Report
from relay.queue.attempt_result import AttemptResult
from relay.queue.model import Lease, new_token
from relay.smtp.outcome import Outcome, State
from relay.smtp.parameters import DsnNotify, DsnReturn, MailParameters
from tests.support.delivery.delivery_store import BODY, CLAIRE, POSTMASTER, DeliveryStore, pending
from tests.support.delivery.outcomes import DELIVERED, LATER, REFUSED, ended, states, told
from tests.support.delivery.queued import rows


def commit(delivery_store: DeliveryStore, writes: PendingWrites) -> Committed:
    return delivery_store.committer(lambda: LATER).commit(writes)


def protect(database: Database, delivery: int) -> None:
    """Make the database refuse every change of a delivery's row."""
    where = f"WHEN (OLD.id = {delivery})"
    with database.write() as connection:
        if connection.dialect.name == "sqlite":
            for what in ("UPDATE", "DELETE"):
                connection.exec_driver_sql(
                    f"CREATE TRIGGER no_{what} BEFORE {what} ON deliveries {where} "
                    "BEGIN SELECT RAISE(ABORT, 'refused'); END"
                )
        else:
            connection.exec_driver_sql(
                "CREATE FUNCTION no() RETURNS trigger AS "
                "$$ BEGIN RAISE check_violation; END $$ LANGUAGE plpgsql"
            )
            connection.exec_driver_sql(
                "CREATE TRIGGER no BEFORE UPDATE OR DELETE ON deliveries "
                f"FOR EACH ROW {where} EXECUTE FUNCTION no()"
            )


def test_one_that_the_database_refuses_is_left_and_the_rest_is_recorded(
    delivery_store: DeliveryStore,
) -> None:
    first, odd, refused, waiting = (delivery_store.send() for _ in range(4))
    delivery_store.queue()
    (new,) = rows(delivery_store.store.database).keys() - {
        one.id for one in (first, odd, refused, waiting)
    }
    protect(delivery_store.store.database, odd.id)
    results = [
        ended(first, DELIVERED),
        ended(odd, DELIVERED),
        ended(refused, REFUSED),
        ended(waiting, Outcome(State.WAITING, "451 4.3.0 later")),
    ]
    committed = commit(delivery_store, pending(results, wanted=[Lease(new, new_token())]))
    assert states(committed) == [State.DELIVERED, None, State.FAILED, State.WAITING]
    assert told(committed) == {refused.lease}
    assert [claim.id for claim in committed.claims] == [new]
    assert len(delivery_store.mail(CLAIRE)) == 1
    left = rows(delivery_store.store.database)
    # A new attempt follows once the lease has lapsed: sent twice rather than lost.
    assert left[odd.id].lease_owner == "node:1"
    assert first.id not in left
    assert left[waiting.id].lease_owner is None


def test_what_became_of_mail_is_recorded_without_a_report_that_is_refused(
    delivery_store: DeliveryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The sender's mailbox is deleted between the composition and the storage of the DSN.
    gone, other = delivery_store.send(), delivery_store.send(DsnNotify.SUCCESS, sender=POSTMASTER)
    compose = DsnWriter.compose

    def overtaken(
        dsn_writer: DsnWriter, results: Sequence[AttemptResult], now: datetime
    ) -> Mapping[Lease, Report]:
        made = compose(dsn_writer, results, now)
        with delivery_store.store.database.write() as connection:
            connection.execute(delete(mailboxes).where(mailboxes.c.address == CLAIRE))
        return made

    monkeypatch.setattr(DsnWriter, "compose", overtaken)
    committed = commit(delivery_store, pending([ended(gone, REFUSED), ended(other, DELIVERED)]))
    assert states(committed) == [State.FAILED, State.DELIVERED]
    assert told(committed) == {other.lease}
    (report,) = delivery_store.mail(POSTMASTER)
    assert report.recipients[0]["Action"] == "relayed"
    assert rows(delivery_store.store.database)[gone.id].state == State.FAILED


def test_what_is_taken_on_comes_with_its_small_body(
    delivery_store: DeliveryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery_store.queue()
    (key,) = rows(delivery_store.store.database)
    committed = commit(delivery_store, pending(wanted=[Lease(key, new_token())]))
    assert committed.sealed.keys() == {claim.blob for claim in committed.claims}

    def away(_: object) -> None:
        raise StoreUnavailable("the connection is lost")

    delivery_store.queue()
    (new,) = rows(delivery_store.store.database).keys() - {key}
    # Then each attempt reads its own body, and finds the error.
    monkeypatch.setattr(delivery_store.store.blobs, "sealed", away)
    committed = commit(delivery_store, pending(wanted=[Lease(new, new_token())]))
    assert (len(committed.claims), committed.sealed) == (1, {})


def test_a_report_for_which_there_is_no_room_costs_no_neighbour_its_outcome(
    delivery_store: DeliveryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Disk or bucket of bodies: full for writes, still readable.
    full = MailParameters(ret=DsnReturn.FULL)
    large = delivery_store.send(body=BODY + b"0123456789abcdef\r\n" * 20_000, parameters=full)
    good = delivery_store.send()

    def seal(
        _: FileBlobStore, drafts: Sequence[Draft], *, anew: bool = False
    ) -> list[str | StoreUnavailable]:
        assert not anew
        for draft in drafts:
            draft.discard()
        return [StoreUnavailable("the disk is full")] * len(drafts)

    monkeypatch.setattr(FileBlobStore, "seal", seal)
    committed = commit(delivery_store, pending([ended(large, REFUSED), ended(good, DELIVERED)]))
    assert states(committed) == [State.FAILED, State.DELIVERED]
    (report,) = delivery_store.mail(CLAIRE)
    assert report.recipients[0]["Status"] == "5.1.1"
    assert report.original_type == "text/rfc822-headers"
