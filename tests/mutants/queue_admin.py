"""Guards of what people do to the queue, and of the trace that it leaves."""

from tests.mutants.model import Mutant

_EACH = ("test_one_for_each_and_one_for_all",)

MUTANTS = (
    Mutant(
        "audit: each delivery that an act changed has its event",
        "                for one in done.changed:\n                    self.record(\n",
        "                for one in ():\n                    self.record(\n",
        _EACH,
    ),
    Mutant(
        "audit: the act as a whole has its event",
        "        finally:\n            self.record(\n                act.event,\n"
        "                filters=wanted.texts,\n",
        "        finally:\n            dict(\n                event=act.event,\n"
        "                filters=wanted.texts,\n",
        _EACH,
    ),
    Mutant(
        "audit: an event has who, the account and why",
        "**facts, who=self.act.name, account=user, why=self.reason)",
        "**facts)",
        _EACH,
    ),
    Mutant(
        "audit: a pause has its event",
        '        self.record("destination.paused", domain=domain)\n',
        "",
        ("test_of_destinations",),
    ),
    Mutant(
        "audit: the end of a pause has its event",
        '        self.record("destination.resumed", domain=domain)\n',
        "",
        ("test_of_destinations",),
    ),
    Mutant(
        "audit: a rule that is added has its event",
        '        self.record("queue.rule_added", rule=number, filters=scope_texts(scope))\n',
        "",
        ("test_of_rules",),
    ),
    Mutant(
        "audit: a rule that is removed has its event",
        '        self.record("queue.rule_removed", rule=number, filters=scope_texts(rule.scope))\n',
        "",
        ("test_of_rules",),
    ),
    Mutant(
        "audit: an event has no part of an INS",
        "    return f\"***{at}{domain if at else ''}\" if hides else pattern\n",
        "    return pattern\n",
        ("test_no_part_of_an_ins",),
    ),
    Mutant(
        "audit: an event names the mail that a rule held",
        '        record(\n            "queue.held",\n',
        '        str(\n            "queue.held",\n',
        ("test_what_a_rule_holds_is_recorded",),
    ),
    Mutant(
        "audit: acts on mailboxes say who did them",
        "        yield partial(journal.record, who=login_name())\n",
        "        yield journal.record\n",
        ("test_each_act_leaves_its_event",),
    ),
    Mutant(
        "queue: an act leaves alone what is in flight",
        "    idle = or_(d.lease_until.is_(None), d.lease_until <= store_now(now))\n",
        "    idle = true()\n",
        ("test_leaves_alone_what_is_in_flight",),
    ),
    Mutant(
        "queue: an act looks again at what it found",
        "    here = (d.id.in_(found), d.message_id.in_(set(found.values())), *chosen)\n",
        "    here = (d.id.in_(found), d.message_id.in_(set(found.values())))\n",
        ("test_what_changed_since_it_was_found_is_looked_at_again",),
    ),
    Mutant(
        "queue: a number that was given again is another delivery",
        "    here = (d.id.in_(found), d.message_id.in_(set(found.values())), *chosen)\n",
        "    here = (d.id.in_(found), *chosen)\n",
        ("test_what_an_operator_looked_for_is_not_another_delivery_by_now",),
    ),
    Mutant(
        "queue: what is held keeps its reason",
        "            and_(DeliveryStatus.HELD.condition, deliveries.c.unreadable),\n",
        "            DeliveryStatus.HELD.condition,\n",
        ("test_what_waits_is_held_for_the_reason", "test_takes_a_state"),
    ),
    Mutant(
        "queue: what was tried since its report is not deleted",
        "        if there.get(one.id) != seen or (seen is not None and seen.lease",
        "        if (seen is not None and seen.lease",
        ("test_what_was_tried_since_its_report_is_left_alone",),
    ),
    Mutant(
        "queue: the sender hears of what is deleted",
        "        if report is not None:\n            kept.append(report)\n",
        "",
        ("test_the_sender_hears_that_it_was_taken_out_and_not_why",),
    ),
    Mutant(
        "queue: what no report can be written of is not deleted",
        "(seen is not None and seen.lease not in prepared.reports):\n",
        "False:\n",
        ("test_what_no_report_can_be_written_of_is_left_alone",),
    ),
    Mutant(
        "queue: what failed lives anew with all attempts",
        "                state=State.WAITING, attempts=0, created_at=now, held=None,",
        "                state=State.WAITING, held=None,",
        ("test_what_failed_lives_anew_if_asked",),
    ),
    Mutant(
        "queue: what failed is tried again only if asked",
        "        return or_(waits, DeliveryStatus.FAILED.condition) if self.revive else waits\n",
        "        return or_(waits, DeliveryStatus.FAILED.condition)\n",
        ("test_what_waits_is_due_now",),
    ),
    Mutant(
        "queue: what is held is not tried again",
        "        waits = DeliveryStatus.WAITING.condition\n",
        "        waits = or_(DeliveryStatus.WAITING.condition, DeliveryStatus.HELD.condition)\n",
        ("test_what_waits_is_due_now",),
    ),
    Mutant(
        "queue: who has the message does not get it again",
        "            .where(r.delivery_id.in_(failed), r.state == State.FAILED)\n",
        "            .where(r.delivery_id.in_(failed))\n",
        ("test_what_failed_lives_anew_if_asked",),
    ),
    Mutant(
        "queue: a person's hold is not let go with the body",
        "update(deliveries).where(chosen).values(held=self.reason, unreadable=False)\n",
        "update(deliveries).where(chosen).values(held=self.reason)\n",
        ("test_what_a_person_holds_while_its_body_is_read_stays_held",),
    ),
    Mutant(
        "queue: only what is held is released",
        '        """Held deliveries."""\n        return DeliveryStatus.HELD.condition\n',
        '        """Held deliveries."""\n        return true()\n',
        ("test_what_is_held_is_released_and_due",),
    ),
    Mutant(
        "queue: what comes during an act is left alone",
        "act.eligible(), deliveries.c.id <= _newest(database)]\n",
        "act.eligible()]\n",
        ("test_another_operators_sender_is_told_by_the_queue",),
    ),
    Mutant(
        "queue: an act goes on behind what it left alone",
        "        notify_after_commit(database.url)\n        last = ids[-1]\n",
        "        notify_after_commit(database.url)\n",
        ("test_leaves_alone_what_is_in_flight", "test_works_through_all_in_batches"),
    ),
    Mutant(
        "queue: an act works in transactions of a few",
        "_find(database, chosen, last, batch or act.batch)",
        "_find(database, chosen, last, 10**9)",
        ("test_works_through_all_in_batches",),
    ),
    Mutant(
        "queue: reports make transactions smaller",
        "        return super(DropAction, self).batch if self.dsn_writer is None else REPORTS\n",
        "        return super(DropAction, self).batch\n",
        ("test_transactions_are_small_where_there_are_reports",),
    ),
    Mutant(
        "queue: of what failed nobody is told again",
        "    waiting = select(d.id).where(d.id.in_(ids), d.state == State.WAITING)\n",
        "    waiting = select(d.id).where(d.id.in_(ids))\n",
        ("test_what_failed_was_told_already",),
    ),
    Mutant(
        "queue: what an act frees is told to the couriers",
        "        notify_after_commit(database.url)\n        last = ids[-1]\n",
        "        last = ids[-1]\n",
        ("test_what_an_act_frees_wakes_who_listens",),
    ),
    Mutant(
        "queue: only what failed is forgotten",
        "    over = (d.state == State.FAILED, d.due < before)\n",
        "    over = (d.due < before,)\n",
        ("test_by_the_time_at_which_it_failed",),
    ),
    Mutant(
        "queue: what failed is kept for its time",
        "    over = (d.state == State.FAILED, d.due < before)\n",
        "    over = (d.state == State.FAILED,)\n",
        ("test_by_the_time_at_which_it_failed",),
    ),
    Mutant(
        "queue: a filter of recipients looks at those who wait",
        "            due = (r.delivery_id == d.id, r.state != State.DELIVERED)\n",
        "            due = (r.delivery_id == d.id,)\n",
        ("test_what_it_matches",),
    ),
    Mutant(
        "queue: an underscore in a filter is one",
        '"%": "/%", "_": "/_", "/": "//"}',
        '"%": "/%", "/": "//"}',
        ("test_what_it_matches",),
    ),
    Mutant(
        "queue: a percent sign in a filter is one",
        '"%": "/%", "_": "/_", "/": "//"}',
        '"_": "/_", "/": "//"}',
        ("test_what_it_matches", "test_a_pattern_is_that_of_the_shell_without_brackets"),
    ),
    Mutant(
        "queue: what failed is not held",
        "        if state == State.FAILED:\n            return DeliveryStatus.FAILED\n",
        "",
        ("test_count_by_how_they_stand",),
    ),
    Mutant(
        "queue: a rule that is not there is refused",
        '    if found is None:\n        raise NotFound(f"there is no rule',
        '    if False:\n        raise NotFound(f"there is no rule',
        ("test_they_are_kept_in_their_order",),
    ),
    Mutant(
        "queue: a rule for the null sender is stored as mail has it",
        '        "sender": "" if scope.sender == NULL_SENDER else scope.sender,\n',
        '        "sender": scope.sender,\n',
        ("test_the_null_sender_is_stored_as_it_is_in_the_queue",),
    ),
    Mutant(
        "queue: the end of a pause that is not there is refused",
        "            if not resume(change.connection, domain):\n",
        "            if resume(change.connection, domain) is None:\n",
        ("test_pause_and_resume_one",),
    ),
)
