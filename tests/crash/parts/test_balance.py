"""Tests of the harness: the balance finds a lost message, and a doubled message."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.crash import couriers
from tests.crash.load import Ledger, Load
from tests.crash.outbox import Outbox
from tests.crash.receiver import Receipt
from tests.crash.verdict import judge
from tests.support.machines.daemon import served
from tests.support.waiting import until_now


@pytest.fixture(scope="module")
def kept_box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outbox]:
    """Delivered mail, all of it received."""
    with couriers.sender(tmp_path_factory.mktemp("balance") / "a", "balance") as box:
        with served(box.daemon):
            box.post(6)
            box.drained()
        yield box


@pytest.fixture
def box(kept_box: Outbox) -> Iterator[Outbox]:
    """The same; changes of the records by a test are undone."""
    records = [list(peer.receipts) for peer in kept_box.receivers]
    yield kept_box
    for peer, receipts in zip(kept_box.receivers, records, strict=True):
        peer.receipts[:] = receipts
    kept_box.uncommitted.clear()
    kept_box.lagged.clear()


def busy(box: Outbox) -> list[Receipt]:
    """The record of the peer with most messages."""
    return max((peer.receipts for peer in box.receivers), key=len)


def test_all_that_left_is_accounted_for(box: Outbox) -> None:
    verdict = box._judge()
    assert verdict.problems == []
    assert verdict.found == verdict.acknowledged >= 6
    assert (verdict.lost, verdict.doubled, verdict.lagged) == (0, 0, 0)


def test_a_message_that_no_peer_has_is_lost(box: Outbox) -> None:
    busy(box).pop()
    verdict = box._judge()
    assert (verdict.lost, verdict.found) == (1, verdict.acknowledged - 1)
    assert len(verdict.problems) == 1


def test_one_that_went_with_the_lag_of_a_standby_is_counted_as_that(box: Outbox) -> None:
    gone = busy(box).pop()
    box.lagged.add(gone.queue_id)
    verdict = box._judge()
    assert (verdict.lost, verdict.lagged) == (0, 1)


def test_a_second_copy_is_a_problem_unless_it_was_under_way(box: Outbox) -> None:
    again = busy(box)[0]
    before = box.copies()
    busy(box).append(again)
    verdict = box._judge()
    assert verdict.doubled == len(verdict.problems) == 1
    ((delivery, _),) = (box.copies() - before).items()
    box.uncommitted[delivery] = 1
    verdict = box._judge()
    assert (verdict.doubled, verdict.problems) == (1, [])
    busy(box).append(again)
    assert len(box._judge().problems) == 1


def test_a_copy_with_other_octets_is_a_problem(box: Outbox) -> None:
    busy(box)[0] = replace(busy(box)[0], blob="0" * 64)
    assert len(box._judge().problems) == 1


def test_mail_that_came_in_is_accounted_for_alike(kept_box: Outbox) -> None:
    ledger = Ledger()
    with served(kept_box.daemon), Load(kept_box.daemon, ledger, "balance", clients=1):
        until_now(lambda: ledger.acknowledged >= 4)
    sendings = [one for one in ledger.sendings if one.accepted]
    with kept_box.daemon.store() as store:
        verdict = judge(store, ledger.sendings, {})
        assert verdict.problems == []
        assert verdict.found == verdict.acknowledged == len(sendings)
        # As if one message had been sent once less: one stored message is too many.
        verdict = judge(store, [one for one in ledger.sendings if one is not sendings[0]], {})
        assert verdict.doubled == len(verdict.problems) == 1
        # As if another message had been acknowledged, which is missing.
        sendings[0].reply = f"250 2.0.0 Accepted {'0' * 32}"
        verdict = judge(store, ledger.sendings, {})
        assert (verdict.lost, verdict.doubled) == (1, 1)
        verdict = judge(store, ledger.sendings, {}, {"0" * 32})
        assert (verdict.lost, verdict.lagged) == (0, 1)
