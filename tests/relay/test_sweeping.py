"""The search for late mail goes on where it was, and begins anew once in a while."""

from relay.queue_due import Overdue
from relay.retry import RetryPolicy
from relay.sweeping import AGAIN, Sweeping
from tests.support.clock import NOW

POLICY = RetryPolicy()


def test_all_late_mail_is_looked_for_and_what_is_over_for_dead_destinations() -> None:
    sweeping = Sweeping(POLICY)
    (late,) = sweeping.sweeps(NOW, [])
    assert (late.after, late.domains, late.untold) == (0, None, True)
    assert late.before == NOW - POLICY.delay_warning
    late, over = sweeping.sweeps(NOW, ["b"])
    assert (over.domains, over.untold, over.before) == (frozenset("b"), False, NOW - POLICY.life)
    assert sweeping.swept({late: Overdue([1, 2], 5), over: Overdue([2, 3], None)}) == [1, 2, 3]


def test_each_goes_on_where_it_was_until_it_is_time_to_begin_anew() -> None:
    sweeping = Sweeping(POLICY)
    late, over = sweeping.sweeps(NOW, ["b"])
    sweeping.swept({late: Overdue([], 200), over: Overdue([], None)})
    late, over = sweeping.sweeps(NOW + AGAIN / 2, ["b"])
    assert (late.after, over.after) == (200, 0)
    sweeping.swept({late: Overdue([], None), over: Overdue([], 7)})
    late, over = sweeping.sweeps(NOW + AGAIN / 2, ["b"])
    assert (late.after, over.after) == (200, 7)
    late, over = sweeping.sweeps(NOW + AGAIN, ["b"])
    assert (late.after, over.after) == (0, 0)
