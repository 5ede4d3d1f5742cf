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
from tests.support.delivery.delivery_store import BODY, CLAIRE, POSTMASTER, Office, pending
from tests.support.delivery.outcomes import DELIVERED, LATER, REFUSED, ended, states, told
from tests.support.delivery.queued import rows


def commit(office: Office, writes: PendingWrites) -> Committed:
    return office.committer(lambda: LATER).commit(writes)


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


def test_one_that_the_database_refuses_is_left_and_the_rest_is_recorded(office: Office) -> None:
    first, odd, refused, waiting = (office.send() for _ in range(4))
    office.queue()
    (new,) = rows(office.store.database).keys() - {one.id for one in (first, odd, refused, waiting)}
    protect(office.store.database, odd.id)
    results = [
        ended(first, DELIVERED),
        ended(odd, DELIVERED),
        ended(refused, REFUSED),
        ended(waiting, Outcome(State.WAITING, "451 4.3.0 later")),
    ]
    committed = commit(office, pending(results, wanted=[Lease(new, new_token())]))
    assert states(committed) == [State.DELIVERED, None, State.FAILED, State.WAITING]
    assert told(committed) == {refused.lease}
    assert [claim.id for claim in committed.claims] == [new]
    assert len(office.mail(CLAIRE)) == 1
    left = rows(office.store.database)
    # A new attempt follows once the lease has lapsed: sent twice rather than lost.
    assert left[odd.id].lease_owner == "node:1"
    assert first.id not in left
    assert left[waiting.id].lease_owner is None


def test_what_became_of_mail_is_recorded_without_a_report_that_is_refused(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The sender's mailbox is deleted between the composition and the storage of the DSN.
    gone, other = office.send(), office.send(DsnNotify.SUCCESS, sender=POSTMASTER)
    compose = DsnWriter.compose

    def overtaken(
        dsn_writer: DsnWriter, results: Sequence[AttemptResult], now: datetime
    ) -> Mapping[Lease, Report]:
        made = compose(dsn_writer, results, now)
        with office.store.database.write() as connection:
            connection.execute(delete(mailboxes).where(mailboxes.c.address == CLAIRE))
        return made

    monkeypatch.setattr(DsnWriter, "compose", overtaken)
    committed = commit(office, pending([ended(gone, REFUSED), ended(other, DELIVERED)]))
    assert states(committed) == [State.FAILED, State.DELIVERED]
    assert told(committed) == {other.lease}
    (report,) = office.mail(POSTMASTER)
    assert report.recipients[0]["Action"] == "relayed"
    assert rows(office.store.database)[gone.id].state == State.FAILED


def test_what_is_taken_on_comes_with_its_small_body(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.queue()
    (key,) = rows(office.store.database)
    committed = commit(office, pending(wanted=[Lease(key, new_token())]))
    assert committed.sealed.keys() == {claim.blob for claim in committed.claims}

    def away(_: object) -> None:
        raise StoreUnavailable("the connection is lost")

    office.queue()
    (new,) = rows(office.store.database).keys() - {key}
    # Then each attempt reads its own body, and finds the error.
    monkeypatch.setattr(office.store.blobs, "sealed", away)
    committed = commit(office, pending(wanted=[Lease(new, new_token())]))
    assert (len(committed.claims), committed.sealed) == (1, {})


def test_a_report_for_which_there_is_no_room_costs_no_neighbour_its_outcome(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Disk or bucket of bodies: full for writes, still readable.
    full = MailParameters(ret=DsnReturn.FULL)
    large = office.send(body=BODY + b"0123456789abcdef\r\n" * 20_000, parameters=full)
    good = office.send()

    def seal(
        _: FileBlobStore, drafts: Sequence[Draft], *, anew: bool = False
    ) -> list[str | StoreUnavailable]:
        assert not anew
        for draft in drafts:
            draft.discard()
        return [StoreUnavailable("the disk is full")] * len(drafts)

    monkeypatch.setattr(FileBlobStore, "seal", seal)
    committed = commit(office, pending([ended(large, REFUSED), ended(good, DELIVERED)]))
    assert states(committed) == [State.FAILED, State.DELIVERED]
    (report,) = office.mail(CLAIRE)
    assert report.recipients[0]["Status"] == "5.1.1"
    assert report.original_type == "text/rfc822-headers"
