"""Guards of endings: shared passwords, deleted mailboxes, notices, refusals of sending."""

from tests.mutants.model import Mutant

_TEAM = ("test_a_shared_password_that_opens_nothing",)
_DELETED = ("test_all_ends_at_once_and_the_doors_are_told",)

MUTANTS = (
    Mutant(
        "endings: a shared password opens its mailbox alone",
        "    if proof.mailbox_id != mailbox.id:\n        return Reason.OTHER_MAILBOX\n    since",
        "    since",
        _TEAM,
    ),
    Mutant(
        "endings: a shared password manages nothing",
        "    if proof.method is not Method.GRACE or action not in CONTENT:\n",
        "    if proof.method is not Method.GRACE:\n",
        ("test_the_shared_password_of_a_team_opens_content_and_manages_nothing",),
    ),
    Mutant(
        "endings: a shared password of an earlier move opens nothing",
        "not (since <= proof.at and at < until)",
        "not at < until",
        _TEAM,
    ),
    Mutant(
        "endings: the use of a shared password is in the trail",
        "                self.trail.append(conn, [event])\n            conn.execute(update(",
        "            conn.execute(update(",
        ("test_its_use_is_in_the_trail_once_an_hour",),
    ),
    Mutant(
        "endings: the shared log-in of a mailbox waits at every machine",
        "            raise LoginRefused(Refusal.UNKNOWN)\n"
        "        if account_wait(row.failed_logins, row.failed_at, at):\n",
        "            raise LoginRefused(Refusal.UNKNOWN)\n        if False:\n",
        ("test_the_mailbox_waits_at_every_machine",),
    ),
    Mutant(
        "endings: the end of a move erases the shared password",
        "        .values(ended_at=now, verifier=None)\n",
        "        .values(ended_at=now)\n",
        ("test_after_the_end_of_the_move_it_is_gone",),
    ),
    Mutant(
        "endings: the first log-in after the beginning of a move is noted",
        "*([moved] if table is accounts else [])",
        "*([])",
        ("test_the_first_log_in_after_a_team_began_to_move_is_noted",),
    ),
    Mutant(
        "endings: a deleted mailbox loses its grants",
        "    ended += end_grants(conn, grants.c.mailbox_id == mailbox_id, now)\n",
        "",
        _DELETED,
    ),
    Mutant(
        "endings: a deleted mailbox loses its break-glass accesses",
        "    accesses = end_accesses(conn, break_glass.c.mailbox_id == mailbox_id, now)\n",
        "    accesses = 0\n",
        _DELETED,
    ),
    Mutant(
        "endings: an erased mailbox takes no notice",
        "break_glass.c.id == access_id, mailboxes.c.erased_at.is_(None))",
        "break_glass.c.id == access_id)",
        ("test_an_erased_mailbox_takes_no_message",),
    ),
    Mutant(
        "endings: one row in the trail for a mailbox and an hour",
        "if number == 1 and self.refusals is not None:",
        "if self.refusals is not None:",
        ("test_one_audit_row_for_a_mailbox_and_an_hour",),
    ),
    Mutant(
        "endings: a mailbox used meanwhile gets no step",
        "            if found != mailbox:",
        "            if False:",
        ("test_a_mailbox_used_meanwhile_is_left_alone",),
    ),
    Mutant(
        "endings: a late step makes all later steps late",
        "    times = [facts.used_at + timedelta(days=nominal), earliest, facts.kept_until]\n",
        "    times = [facts.used_at + timedelta(days=nominal), facts.kept_until]\n",
        ("test_nobody_is_suspended_without_all_warnings_in_their_distance",),
    ),
)
