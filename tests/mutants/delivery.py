"""Guards of delivery: one lease, one life, the sender told, and no mail for a server unjudged."""

from tests.mutants.model import Mutant

_LOST_LEASE = ("test_a_lapsed_lease_is_taken_over_and_the_late_result_is_dropped",)
_LEFT_ALONE = ("test_paused_and_dead_destinations_are_left_alone",)

MUTANTS = (
    Mutant(
        "delivery: a delivery under a lease is left alone",
        "    .where(or_(_D.lease_until.is_(None), _D.lease_until <= _STORE_NOW))\n",
        "",
        ("test_a_lease_keeps_others_away_though_the_next_attempt_is_due",),
    ),
    Mutant(
        "delivery: one that is held is left alone",
        "    .where(_D.due <= _NOW, _D.held.is_(None))\n",
        "    .where(_D.due <= _NOW)\n",
        ("test_new_mail_that_a_rule_names_is_held_and_never_claimed",),
    ),
    Mutant(
        "delivery: one that is not due is left alone",
        "    .where(_D.due <= _NOW, _D.held.is_(None))\n",
        "    .where(_D.held.is_(None))\n",
        ("test_only_those_who_wait_are_tried_again", "test_the_attempt_counts_before_it_is_made"),
    ),
    Mutant(
        "delivery: paused and dead destinations are left alone",
        "    .where(~_BARRED.exists())\n",
        "",
        _LEFT_ALONE,
    ),
    Mutant(
        "delivery: nothing is sent while all is paused",
        "    if connection.scalar(_ALL_PAUSED) is not None:\n        return []\n",
        "",
        _LEFT_ALONE,
    ),
    Mutant(
        "delivery: an attempt counts before it is made",
        '                "n": n + 1,\n',
        '                "n": n,\n',
        ("test_the_attempt_counts_before_it_is_made",),
    ),
    Mutant(
        "delivery: the next attempt is set before this one is made",
        '                "next": now + wait(n + 1),\n',
        '                "next": now,\n',
        ("test_the_attempt_counts_before_it_is_made",),
    ),
    Mutant(
        "delivery: a result counts under its own lease alone",
        "d.message_id == done.message_id, d.lease_token == done.token)\n",
        "d.message_id == done.message_id)\n",
        _LOST_LEASE,
    ),
    Mutant(
        "delivery: a result counts for its own message alone",
        "    held = (d.id == done.id, d.message_id == done.message_id, ",
        "    held = (d.id == done.id, ",
        ("test_a_result_counts_for_its_own_message_alone",),
    ),
    Mutant(
        "delivery: results of many count under their own leases alone",
        "    found = {row.id: row.lease_token for row in rows if tuple(row) in ours}\n",
        "    found = {row.id: row.lease_token for row in rows}\n",
        (
            "test_the_end_of_an_old_attempt_settles_no_new_delivery",
            "test_what_arrived_leaves_together_but_for_what_is_to_be_seen",
            "test_an_old_attempt_and_a_new_one_end_together",
        ),
    ),
    Mutant(
        "delivery: a recipient that failed stays visible beside others",
        '    for key in connection.scalars(_FAILED, {"keys": sorted(found)}):\n'
        "        found.pop(key, None)\n",
        "",
        ("test_what_arrived_leaves_together_but_for_what_is_to_be_seen",),
    ),
    Mutant(
        "delivery: leases are renewed by their tokens",
        "    return and_(\n        d.id.in_([one.id for one in leases]), "
        "d.lease_token.in_([one.token for one in leases])\n    )\n",
        "    return and_(d.id.in_([one.id for one in leases]))\n",
        ("test_leases_are_renewed_by_their_tokens_alone",),
    ),
    Mutant(
        "delivery: a restart frees the leases of its own machine alone",
        '        .where(d.lease_owner.startswith(f"{node}:", autoescape=True))\n',
        "        .where(d.lease_owner.is_not(None))\n",
        ("test_a_restart_frees_the_leases_of_its_own_node_only",),
    ),
    Mutant(
        "delivery: the probe of a dead destination is given once",
        "            if begin_probe(connection, one.domain, now, now + PROBE):\n",
        "            if begin_probe(connection, one.domain, now, now + PROBE) or True:\n",
        ("test_a_probe_is_of_the_domain_that_the_delivery_has_now",),
    ),
    Mutant(
        "delivery: mail is given up at the end of its life",
        "    expired = waiting if policy.is_over(claim.created_at, steady_now) else ()\n",
        "    expired = ()\n",
        ("test_the_end_of_life_fails_but_never_drops",),
    ),
    Mutant(
        "delivery: what a peer refused for good is kept",
        "    return State.FAILED if failed else State.DELIVERED\n",
        "    return State.DELIVERED\n",
        ("test_the_state_is_that_of_the_worst_recipient",),
    ),
    Mutant(
        "delivery: a recipient that failed before keeps its delivery visible",
        "        if not others:\n",
        "        if True:\n",
        ("test_a_recipient_that_failed_before_keeps_its_delivery_visible",),
    ),
    Mutant(
        "delivery: a sender hears that time is over",
        "        return now >= queued_at + self.life\n",
        "        return False\n",
        ("test_who_waits_is_late_after_four_hours_and_expired_after_five_days",),
    ),
    Mutant(
        "delivery: a sender hears of a delay",
        "        return now >= queued_at + self.delay_warning and not",
        "        return False and not",
        ("test_who_waits_is_late_after_four_hours_and_expired_after_five_days",),
    ),
    Mutant(
        "delivery: a delay is told once",
        "        if not claim.delay_told and policy.is_late(",
        "        if policy.is_late(",
        ("test_nobody_is_told_twice_that_it_is_late",),
    ),
    Mutant(
        "delivery: that a delay was told is remembered",
        '        "delay_told": done.delay_told or bool(result.late),\n',
        '        "delay_told": done.delay_told,\n',
        ("test_who_was_told_of_a_delay_is_remembered",),
    ),
    Mutant(
        "delivery: after unknown outcomes it is given up",
        "        if tries >= policy.unknown_max_tries:\n",
        "        if False:\n",
        ("test_it_waits_longer_each_time_and_then_its_sender_is_told",),
    ),
    Mutant(
        "delivery: after an unknown outcome there is a longer wait",
        '        "due": result.at if over else result.unknown_until or d.due,\n',
        '        "due": result.at if over else d.due,\n',
        ("test_it_waits_longer_each_time_and_then_its_sender_is_told",),
    ),
    Mutant(
        "delivery: a wait doubles",
        "        doubled = self.first * (1 << min(attempts - 1, enough))\n",
        "        doubled = self.first\n",
        ("test_the_default_waits",),
    ),
    Mutant(
        "delivery: a wait has its longest",
        "        return min(doubled, self.longest) * (1 + jitter / 5)\n",
        "        return doubled * (1 + jitter / 5)\n",
        ("test_waits_never_shrink_nor_pass_their_bounds",),
    ),
    Mutant(
        "delivery: a failure is told in the transaction that records it",
        "    if report is not None:\n        dsn_writer.insert",
        "    if False:\n        dsn_writer.insert",
        ("test_what_the_sender_hears",),
    ),
    Mutant(
        "delivery: who has lost the lease tells nobody",
        "    if state is None:  # the lease was lost: no DSN\n"
        "        return Recorded(result, None, None)\n",
        "",
        ("test_who_has_lost_the_lease_tells_nobody",),
    ),
    Mutant(
        "reports: no report is answered",
        "    if not told or original.is_report:\n        return None\n",
        "    if not told:\n        return None\n",
        ("test_reports_are_never_answered",),
    ),
    Mutant(
        "reports: NOTIFY is honoured",
        "    if action is None or _ASKED_BY[action] not in wanted(one.recipient.notify):\n",
        "    if action is None:\n",
        ("test_senders_hear_of_what_they_asked_for",),
    ),
    Mutant(
        "reports: failures are told unasked",
        "_BY_DEFAULT: Final = frozenset({DsnNotify.FAILURE, DsnNotify.DELAY})\n",
        "_BY_DEFAULT: Final = frozenset({DsnNotify.DELAY})\n",
        ("test_senders_hear_of_what_they_asked_for",),
    ),
    Mutant(
        "reports: delays are told unasked",
        "_BY_DEFAULT: Final = frozenset({DsnNotify.FAILURE, DsnNotify.DELAY})\n",
        "_BY_DEFAULT: Final = frozenset({DsnNotify.FAILURE})\n",
        ("test_senders_hear_of_what_they_asked_for",),
    ),
    Mutant(
        "reports: a peer with DSN tells of success itself",
        "            return None if one.outcome.dsn else Action.RELAYED\n",
        "            return Action.RELAYED\n",
        ("test_senders_hear_of_what_they_asked_for",),
    ),
    Mutant(
        "reports: the postmaster hears of what nobody can be told",
        "        return self._notice(replace(original, sender=None), occasion, here, now)\n",
        "        return None\n",
        ("test_a_sender_that_is_gone_is_the_postmasters_too",),
    ),
    Mutant(
        "reports: a notice names no patient",
        "        _masked(_reported(one, Action.FAILED))\n",
        "        _reported(one, Action.FAILED)\n",
        ("test_a_notice_names_no_patient_however_the_address_is_written",),
    ),
    Mutant(
        "delivery: a server is judged before MAIL",
        "        await config.judge(domain, found.certificate, found.tls_version, found.cipher)\n",
        "",
        ("test_a_server_that_may_not_have_it_hears_nothing",),
    ),
    Mutant(
        "delivery: a server that a rule refuses gets nothing",
        "        if not finding.passed:\n            detail = f",
        "        if False:\n            detail = f",
        ("test_a_server_that_may_not_have_it_hears_nothing",),
    ),
    Mutant(
        "delivery: nothing is said in clear text",
        '    if not client.supports_extension("starttls"):\n'
        "        raise AttemptFailed(FailureReason.NO_STARTTLS, "
        'f"{target.host} offers no STARTTLS")\n',
        '    if not client.supports_extension("starttls"):\n        return Shown(None, "", "")\n',
        ("test_without_starttls_nothing_is_said",),
    ),
    Mutant(
        "delivery: without a white list nothing is sent",
        "        if white_list is None:\n"
        "            raise AttemptFailed(FailureReason.NOT_LISTED, NO_LIST)\n",
        "        if white_list is None:\n            return\n",
        ("test_a_list_that_is_lost_in_between_ends_an_attempt_before_it_connects",),
    ),
    Mutant(
        "delivery: by a list that may be old nothing fails for good",
        "        if await self._certainty.of_mail(white_list, claim.created_at, self._clock):\n"
        "            detail",
        "        if True:\n            detail",
        ("test_nothing_fails_by_a_list_that_may_be_older_than_the_message",),
    ),
    Mutant(
        "delivery: SMTPUTF8 is never downgraded",
        "    if envelope.smtputf8 and not offers.smtputf8:\n",
        "    if False:\n",
        ("test_what_needs_smtputf8_is_never_downgraded",),
    ),
    Mutant(
        "delivery: no parameter brings another along",
        "    return value == found.envid or value.upper() == found.ret\n",
        "    return True\n",
        ("test_a_parameter_within_a_value_of_mail_is_not_said",),
    ),
    Mutant(
        "delivery: what is no address is never said",
        "        if not _is_address(one.address):\n",
        "        if False:\n",
        ("test_what_is_no_address_is_never_said",),
    ),
    Mutant(
        "delivery: a message without a verdict is not taken for refused",
        "        raise OutcomeUnknown(detail, answers) from error\n",
        "        raise AttemptFailed(FailureReason.CONNECTION, detail) from error\n",
        ("test_each_waits_and_arrives_once", "test_nobody_is_given_it_twice"),
    ),
    Mutant(
        "delivery: 4xx waits and 5xx fails",
        "            state = State.FAILED if reply.code >= 500 else State.WAITING\n",
        "            state = State.FAILED\n",
        ("test_each_recipient_has_its_answer",),
    ),
    Mutant(
        "selection: what is selected already is not selected again",
        "            return due.id not in taken\n",
        "            return True\n",
        ("test_a_delivery_is_selected_once_though_it_is_read_again",),
    ),
    Mutant(
        "selection: bulk leaves a quarter to interactive mail",
        "        self._max_bulk = max(concurrency * 3 // 4, 1)\n",
        "        self._max_bulk = concurrency\n",
        ("test_bulk_leaves_a_quarter_of_the_process_to_interactive_mail",),
    ),
    Mutant(
        "selection: what is in flight counts against the window",
        "        return max(window - self.in_flight.to(domain), 0)\n",
        "        return window\n",
        ("test_each_destination_gets_what_its_window_has_slots_for",),
    ),
    Mutant(
        "delivery: a claim that was not heard of is given back",
        "            self._unattempted += writes.wanted\n            raise\n",
        "            raise\n",
        ("test_a_lease_that_was_not_heard_of_is_given_back_at_once",),
    ),
    Mutant(
        "watchdog: an attempt without progress is broken off",
        "        if now - self.progress.moved > stuck:\n",
        "        if False:\n",
        ("test_no_progress_is_a_problem",),
    ),
    Mutant(
        "watchdog: an attempt whose lease is ending is broken off",
        "        if now > self.leased_until - MARGIN_SECONDS and",
        "        if False and",
        ("test_a_lost_lease_is_a_problem_unless_the_message_is_sent",),
    ),
    Mutant(
        "watchdog: a message that is sent whole is waited for",
        "MARGIN_SECONDS and self.progress.phase != ANSWER:\n",
        "MARGIN_SECONDS:\n",
        ("test_a_lost_lease_is_a_problem_unless_the_message_is_sent",),
    ),
    Mutant(
        "expiry: without a white list nothing is given up",
        "                if not self.usable():\n",
        "                if False:\n",
        ("test_without_a_white_list_nothing_is_given_up",),
    ),
    Mutant(
        "expiry: what a person holds is not given up",
        "        .where(or_(d.held.is_(None), d.unreadable))\n"
        "        .where(or_(d.lease_until.is_(None), d.lease_until <= store_now(now)))\n",
        "        .where(or_(d.lease_until.is_(None), d.lease_until <= store_now(now)))\n",
        (
            "test_what_a_person_holds_or_pauses_is_not_given_up",
            "test_what_is_held_is_not_leased_at_the_end_of_its_time",
        ),
    ),
)
