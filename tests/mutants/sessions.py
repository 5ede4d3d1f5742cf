"""Guards of inbound sessions: their order, their limits, and what their end leaves."""

from tests.mutants.model import Mutant

_TABLE = ("test_without_tls_nobody_gets_near_a_transaction",)

MUTANTS = (
    # The order of commands.
    Mutant(
        "sessions: without TLS no transaction begins",
        '    b"MAIL":     (NO_TLS,   NO_TLS,   _NO_EHLO,',
        '    b"MAIL":     (NO_TLS,   _SENDER,  _NO_EHLO,',
        _TABLE,
    ),
    Mutant(
        "sessions: no recipient is taken once chunks have come",
        "_RECIPS,   _RECIPS,   _HAS_BDAT),",
        "_RECIPS,   _RECIPS,   _CHUNKS),",
        ("test_dialogue[bdat_order-",),
    ),
    Mutant(
        "sessions: a command out of order is refused",
        "        following = self.next_state(verb, bare=not text)\n",
        "        following = self.state\n",
        ("test_dialogue[order-",),
    ),
    Mutant(
        "sessions: DATA and such have no argument",
        "        if not bare and verb in BARE:\n",
        "        if False:\n",
        ("test_dialogue[commands-",),
    ),
    Mutant(
        "sessions: a command that is not known is refused",
        "        if verb not in self.service.commands:\n",
        "        if False:\n",
        ("test_dialogue[commands-",),
    ),
    Mutant(
        "sessions: what was said before TLS is forgotten",
        '        self.client_name = ""\n        self.state = self.next_state(',
        "        self.state = self.next_state(",
        ("test_a_name_said_before_tls_is_not_in_the_trace",),
    ),
    Mutant(
        "sessions: RSET forgets the transaction",
        '    """Forget the transaction (RFC 5321 §4.1.1.5)."""\n    session.forget_transaction()\n',
        '    """Forget the transaction (RFC 5321 §4.1.1.5)."""\n',
        ("test_chunks_not_finished_leave_nothing",),
    ),
    Mutant(
        "sessions: EHLO forgets the transaction",
        '        raise SyntaxRefused("Syntax: EHLO hostname")\n    session.forget_transaction()\n',
        '        raise SyntaxRefused("Syntax: EHLO hostname")\n',
        ("test_chunks_not_finished_leave_nothing",),
    ),
    Mutant(
        "sessions: an address beyond ASCII needs SMTPUTF8, of a sender",
        "    if sender is not None and sender.needs_smtputf8 and not parameters.smtputf8:\n",
        "    if False:\n",
        ("test_dialogue[mail_syntax-",),
    ),
    Mutant(
        "sessions: an address beyond ASCII needs SMTPUTF8, of a recipient",
        "    if address.needs_smtputf8 and not transaction.parameters.smtputf8:\n",
        "    if False:\n",
        ("test_dialogue[smtputf8-",),
    ),
    Mutant(
        "sessions: a recipient needs an address",
        '    if address is None:\n        raise SyntaxRefused("A recipient',
        '    if False:\n        raise SyntaxRefused("A recipient',
        ("test_dialogue[recipients-", "test_dialogue[address_forms-", "test_dialogue[null_sender-"),
    ),
    # Limits.
    Mutant(
        "sessions: commands are counted",
        "        self.tally.commands += 1\n",
        "",
        ("test_dialogue[too_many_commands-",),
    ),
    Mutant(
        "sessions: errors are counted",
        "            self.tally.errors += 1\n",
        "            pass\n",
        ("test_dialogue[too_many_errors-",),
    ),
    Mutant(
        "sessions: unknown recipients do not end a session",
        '        if error.reply.permanent and verb != b"RCPT":\n',
        "        if error.reply.permanent:\n",
        ("test_many_unknown_recipients_do_not_end_a_session",),
    ),
    Mutant(
        "sessions: a message accepted begins the counts anew",
        "        self.messages, self.errors, self.commands = self.messages + 1, 0, 0\n",
        "        self.messages += 1\n",
        ("test_errors_and_commands_are_counted_since_the_last_message",),
    ),
    Mutant(
        "sessions: a message is counted",
        "    session.tally.accepted()\n",
        "",
        ("test_dialogue[too_many_messages-",),
    ),
    Mutant(
        "sessions: recipients that are pipelined count in the limit of a message",
        "min(session.policy.max_recipients - transaction.recipients, session.tally.left)",
        "session.tally.left",
        ("test_recipients_that_are_pipelined_count_in_the_limit",),
    ),
    Mutant(
        "sessions: recipients that are pipelined count as commands",
        "min(session.policy.max_recipients - transaction.recipients, session.tally.left)",
        "session.policy.max_recipients - transaction.recipients",
        ("test_recipients_that_are_pipelined_are_commands_too",),
    ),
    Mutant(
        "sessions: recipients that are pipelined are counted",
        "    session.tally.commands += len(recipients)\n",
        "",
        ("test_recipients_that_are_pipelined_are_commands_too",),
    ),
    Mutant(
        "sessions: many large chunks are not too many commands",
        "    if chunk.size >= _PROGRESS:\n",
        "    if False:\n",
        ("test_a_message_in_many_chunks_is_not_too_many_commands",),
    ),
    Mutant(
        "sessions: small chunks are commands",
        "    if chunk.size >= _PROGRESS:\n",
        "    if True:\n",
        ("test_many_small_chunks_are_too_many_commands",),
    ),
    Mutant(
        "sessions: a chunk out of order has a largest size",
        "    if octets > session.context.policy.max_message_bytes * OVERRUN:\n",
        "    if False:\n",
        ("test_a_chunk_out_of_order_far_over_the_limit_is_not_read",),
    ),
    Mutant(
        "sessions: a chunk far over the limit is refused",
        "    if body.exceeds(chunk.size):\n",
        "    if False:\n",
        ("test_dialogue[bdat_too_big-",),
    ),
    Mutant(
        "sessions: a chunk with a fault ends its transaction",
        "    if body.problem is not None:\n        session.forget_transaction()\n",
        "    if body.problem is not None:\n",
        ("test_dialogue[bdat_too_big-", "test_dialogue[bdat_faults-"),
    ),
    Mutant(
        "sessions: waits between chunks are part of the message",
        "        if body is not None:\n            return await PacedReader(",
        "        if False:\n            return await PacedReader(",
        ("test_waits_between_chunks_are_part_of_the_message",),
    ),
    Mutant(
        "sessions: chatter before TLS buys no time",
        "min(patience, max(self._greeting_ends - self.loop.time(), 0.001))",
        "patience",
        ("test_chatter_before_tls_does_not_buy_time",),
    ),
    Mutant(
        "sessions: our own work is not the peer's time",
        "await self.inbound.readline()\n        aiosmtpd_adapter.stop_waiting(self)\n",
        "await self.inbound.readline()\n",
        ("test_our_own_work_is_not_the_peer_s_time",),
    ),
    Mutant(
        "sessions: a peer that does not read is waited for and then let go",
        "        if self.outbound.blocked:\n            await self._let_read()\n        if",
        "        if",
        ("test_nothing_more_is_done_for_a_peer_that_does_not_read",),
    ),
    Mutant(
        "sessions: a peer that does not read its refusals is waited for",
        "        elif self.outbound.blocked:\n            await self._let_read()\n",
        "",
        ("test_nothing_more_is_done_for_a_peer_that_does_not_read",),
    ),
    Mutant(
        "sessions: a connection that we close does not stay",
        "        self._linger = self.loop.call_later(LINGER_SECONDS, transport.abort)\n",
        "",
        ("test_a_peer_that_never_reads_is_let_go",),
    ),
    # Recipients that are pipelined.
    Mutant(
        "sessions: a line is forgotten with its mailbox",
        "        if mailboxes is not self._mailboxes:\n",
        "        if not self._mailboxes:\n",
        ("test_what_was_recognised_is_forgotten_with_its_mailbox",),
    ),
    Mutant(
        "sessions: the cache of lines is bounded in number",
        "                if len(line) <= _SHORT and len(recipients) < MAX_CACHED:\n",
        "                if len(line) <= _SHORT:\n",
        ("test_memory_is_bounded",),
    ),
    Mutant(
        "sessions: the cache of lines is bounded in length",
        "                if len(line) <= _SHORT and len(recipients) < MAX_CACHED:\n",
        "                if len(recipients) < MAX_CACHED:\n",
        ("test_memory_is_bounded",),
    ),
    Mutant(
        "sessions: an odd line is not accepted ahead",
        '    if line.find(b"\\r") != len(line) - 1 or b"\\0" in line or not line.isascii():\n',
        "    if False:\n",
        ("test_the_first_odd_line_ends_it",),
    ),
    Mutant(
        "sessions: a mailbox named twice has the message once",
        "        self.local.setdefault(recipient.mailbox_id, recipient)\n",
        "        self.local[len(self.local)] = recipient\n",
        ("test_a_message_to_one_mailbox_by_two_names_arrives_once",),
    ),
    # The end of a message and of a session.
    Mutant(
        "sessions: a message is scanned before it is accepted",
        "    if context.scanners.on:\n        await",
        "    if False:\n        await",
        ("test_a_scanner_sees_the_message_before_it_is_accepted",),
    ),
    Mutant(
        "sessions: a journal that fails changes no reply",
        "    with best_effort:\n        _tell(journal, message, receipt, header)\n",
        "    _tell(journal, message, receipt, header)\n",
        ("test_a_journal_that_fails_takes_back_no_250",),
    ),
    Mutant(
        "sessions: a draft that was handed over is not discarded",
        "    transaction.body = None  # from here on the draft belongs to the committer\n",
        "",
        ("test_a_session_that_ends_during_the_commit_takes_nothing_back",),
    ),
    Mutant(
        "sessions: the end of a session gives its draft back",
        "        finally:\n            self.forget_transaction()\n",
        "        finally:\n            pass\n",
        ("test_an_aborted_message_leaves_nothing", "test_chunks_not_finished_leave_nothing"),
    ),
    Mutant(
        "sessions: a message refused gives its draft back",
        "    finally:\n        session.forget_transaction()\n",
        "    finally:\n        pass\n",
        ("test_dialogue[bdat_too_big-",),
    ),
    Mutant(
        "sessions: an unforeseen fault ends the session",
        '            error = Disconnected(StoreDeferred("").reply, type(error).__name__)\n',
        '            error = StoreDeferred("")\n',
        ("test_an_unforeseen_fault_ends_the_session_and_nothing_else",),
    ),
    Mutant(
        "sessions: a reply is heard although octets are under way",
        "            await self._discard()\n",
        "",
        ("test_a_reply_is_heard_although_much_is_under_way",),
    ),
    Mutant(
        "sessions: a stranger's events are told up to a rate",
        "        elif self._context.strangers.may_report(self.address, event, rule):\n",
        "        elif True:\n",
        ("test_a_flood_of_a_stranger_leaves_little_and_hides_no_peer",),
    ),
    # The listener.
    Mutant(
        "sessions: a connection too many is turned away",
        '        over = "" if own else self._context.connection_counts.make_room(address)\n',
        '        over = ""\n',
        ("test_listed_peers_that_fill_all_places_keep_them",),
    ),
    Mutant(
        "sessions: of those turned away not all are waited for",
        "        if len(self._leaving) >= self._context.limits.max_connections:\n",
        "        if False:\n",
        ("test_who_is_turned_away_may_not_stay",),
    ),
    Mutant(
        "sessions: a listener that stops lets a message finish",
        "[s for s in self._context.connection_counts.sessions if s.idle]",
        "[*self._context.connection_counts.sessions]",
        ("test_stopping_lets_a_message_finish_and_ends_the_idle",),
    ),
)
