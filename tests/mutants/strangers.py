"""Guards of inbound sessions: strangers, peers, and the shares that peers have."""

from tests.mutants.model import Mutant

_ONE_NAME = ("test_too_many_of_one_name",)
_RECEIPTS = ("test_receipts_beyond_the_share_are_put_off",)
_CHATTER = ("test_chatter_under_tls_does_not_buy_a_stranger_time",)
_LET_IN_AGAIN = ("test_a_peer_let_in_again_is_no_stranger",)
_JUDGED_ANEW = ("test_who_was_let_in_is_judged_anew_when_anything_changed",)

MUTANTS = (
    Mutant(
        "sessions: a name has a most of sessions",
        "                self.ending = _TOO_MANY_OF_PEER\n",
        "                pass\n",
        _ONE_NAME,
    ),
    Mutant(
        "sessions: one too many of a name is ended",
        "        if self.policy.ending is not None:\n",
        "        if False:\n",
        _ONE_NAME,
    ),
    Mutant(
        "sessions: the time of a stranger begins with its connection",
        " = session, journal\n        self._start_stranger_clock()\n",
        " = session, journal\n",
        ("test_the_time_of_a_stranger_begins_with_its_connection",),
    ),
    Mutant(
        "sessions: a listed peer is no stranger",
        "self._stop_stranger_clock()\n"
        "            context.connection_counts.mark_known(self._session)\n",
        "context.connection_counts.mark_known(self._session)\n",
        _CHATTER,
    ),
    Mutant(
        "sessions: a listed peer keeps its place",
        "            context.connection_counts.mark_known(self._session)\n",
        "",
        (*_LET_IN_AGAIN, "test_strangers_keep_no_listed_peer_out"),
    ),
    Mutant(
        "sessions: a stranger gives up its place",
        "            context.connection_counts.mark_stranger(self._session, "
        "self._journal.address)\n",
        "",
        ("test_strangers_keep_no_listed_peer_out",),
    ),
    Mutant(
        "sessions: a peer that is no longer listed becomes a stranger",
        "            if self._stranger_clock is None:\n                self._start",
        "            if False:\n                self._start",
        ("test_a_peer_that_is_listed_no_more_has_a_stranger_s_time",),
    ),
    Mutant(
        "sessions: a peer taken for a stranger is asked for again",
        "        if unchanged and self._stranger_clock is None:\n",
        "        if unchanged:\n",
        _LET_IN_AGAIN,
    ),
    Mutant(
        "sessions: the size counts for a peer that was let in",
        "            admit(facts, Stage.MESSAGE)  # only the size is known yet\n",
        "",
        _JUDGED_ANEW,
    ),
    Mutant(
        "sessions: a place is kept while the certificate is judged",
        "            context.connection_counts.mark_undecided(self._session)\n",
        "            pass\n",
        ("test_a_peer_whose_verdict_takes_long_keeps_its_place",),
    ),
    Mutant(
        "sessions: the quota is asked for at MAIL",
        "    policy.grant_quota()\n",
        "",
        ("test_messages_beyond_the_share_are_put_off",),
    ),
    Mutant(
        "sessions: what was taken is counted in the quota",
        "    policy.count_accepted(len(message.local), receipt=receipt is not None)\n",
        "",
        ("test_messages_beyond_the_share_are_put_off",),
    ),
    Mutant(
        "sessions: recipients have a quota",
        "        return limit if left is None else min(limit, left)\n",
        "        return limit\n",
        ("test_recipients_beyond_the_share_are_left_for_later",),
    ),
    Mutant(
        "sessions: receipts have a quota",
        "    policy.admit_receipt(parameters)\n",
        "",
        _RECEIPTS,
    ),
    Mutant(
        "sessions: receipts have a quota, pipelined or not",
        "        return self.ending is None and self._room.receipts != 0\n",
        "        return self.ending is None\n",
        _RECEIPTS,
    ),
)
