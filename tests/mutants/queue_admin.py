"""Guards of what people do to the queue, and of the trace that it leaves."""

from tests.mutants.model import Mutant

_EACH = ("test_one_for_each_and_one_for_all",)

MUTANTS = (
    Mutant(
        "audit: each delivery that an act changed has its event",
        "                for one in done.touched:\n                    self.record(\n",
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
        "**facts, who=actor.name, account=actor.account, why=self.reason)",
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
        "        yield partial(journal.record, who=who())\n",
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
        "Standing.WAITING.condition, and_(Standing.HELD.condition, deliveries.c.unreadable)\n",
        "Standing.WAITING.condition, Standing.HELD.condition\n",
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
)
