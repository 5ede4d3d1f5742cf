"""Guards of acceptance: no `250` before the message is durable, none without room for it."""

from tests.mutants.model import Mutant

_SYNCED = (
    "test_data_is_synced_before_it_is_named_and_names_before_they_are_promised",
    "test_a_group_is_synced_before_and_after_it_gets_its_names",
)

MUTANTS = (
    Mutant(
        "acceptance: a draft is synced",
        "            os.fdatasync(self._opened()[0].fileno())\n",
        "            self._opened()\n",
        _SYNCED,
    ),
    Mutant(
        "acceptance: a group's drafts are synced one by one",
        "        list(self._pool.map(_sync_draft, alone))\n",
        "",
        _SYNCED,
    ),
    Mutant(
        "acceptance: a group is synced as one",
        "            sync_filesystem(self._descriptor)\n        except OSError as error:",
        "            pass\n        except OSError as error:",
        _SYNCED,
    ),
    Mutant(
        "acceptance: a failed sync fails the whole group",
        "            outcomes[i] = self._place(drafts[i], failure)\n",
        "            outcomes[i] = self._place(drafts[i], None)\n",
        ("test_where_it_fails_nothing_of_the_group_is_trusted",),
    ),
    Mutant(
        "acceptance: names of bodies are synced",
        "        failed = self._syncer.names({self._fanout(name) for name in placed}, since)\n",
        "        failed = {}\n",
        _SYNCED,
    ),
    Mutant(
        "acceptance: another thread's failed sync is ours too",
        "        if self.failures != since:\n",
        "        if False:\n",
        ("test_a_failure_told_to_somebody_else_is_ours_too",),
    ),
    Mutant(
        "acceptance: only a name on disk is vouched for",
        "            if self._fanout(name) not in failed:\n"
        "                self._mark_durable(name)\n",
        "            self._mark_durable(name)\n",
        ("test_a_directory_that_was_not_synced_is_no_proof",),
    ),
    Mutant(
        "acceptance: a body that nobody vouched for is written anew",
        "            if status.st_mode & stat.S_IWUSR:\n                return False\n",
        "",
        (
            "test_no_process_counts_on_what_another_could_not_sync",
            "test_a_directory_that_was_not_synced_is_no_proof",
        ),
    ),
    Mutant(
        "acceptance: a body of another size is written anew",
        "            if found in lengths(size) or self._compressed(blob, found, size):\n",
        "            if True:\n",
        ("test_a_cut_blob_is_replaced_when_its_body_comes_again",),
    ),
    Mutant(
        "acceptance: a body whose store failed is not accepted",
        "        results.append(None if why is None else StoreDeferred(why))\n",
        "        results.append(None)\n",
        ("test_one_failed_body_spares_its_neighbours",),
    ),
    Mutant(
        "acceptance: rows that were lost are told",
        "        for index, _ in ready:\n            results[index] = StoreDeferred(str(error))\n",
        "        for index, _ in ready:\n            str(error)\n",
        ("test_a_lost_database_defers",),
    ),
    Mutant(
        "acceptance: a row that was refused is told",
        "                results[index] = StoreDeferred(_first_line(error), unwell=False)\n",
        "                _first_line(error)\n",
        ("test_one_bad_row_spares_its_neighbours",),
    ),
    Mutant(
        "acceptance: a small body is in the transaction of its message",
        "    store.blobs.keep(connection, [body for _, body in kept], now=now)\n",
        "",
        ("test_small_and_large_bodies_in_one_group",),
    ),
    Mutant(
        "acceptance: nobody is answered before the commit",
        "                results = await loop.run_in_executor(self._thread, self._commit, group)\n",
        "                for _, done in group:\n"
        "                    done.done() or done.set_result(None)\n"
        "                results = await loop.run_in_executor(self._thread, self._commit, group)\n",
        ("test_nobody_is_answered_before_the_commit",),
    ),
    Mutant(
        "acceptance: 250 is said after the store has answered",
        "    await context.committer.accept(message, receipt)\n",
        "    __import__('asyncio').ensure_future(context.committer.accept(message, receipt))\n",
        ("test_a_store_that_failed_takes_no_more_until_it_is_well",),
    ),
    Mutant(
        "acceptance: a body that could not be written is not accepted",
        "        if body.problem is not None:\n"
        "            raise _report_to_guard(session, body.problem)\n"
        "        address",
        "        address",
        ("test_a_body_that_cannot_be_written_is_read_to_its_end", "test_dialogue[smuggling-"),
    ),
    Mutant(
        "acceptance: a report is kept with its message",
        "    return (message,) if receipt is None else (message, receipt)\n",
        "    return (message,)\n",
        ("test_a_report_is_kept_with_its_message_or_neither",),
    ),
    Mutant(
        "acceptance: a transaction of SQLite is synced",
        '        connection.execute("PRAGMA synchronous=FULL")\n',
        '        connection.execute("PRAGMA synchronous=NORMAL")\n',
        ("test_sqlite_syncs_every_commit_and_checks_foreign_keys",),
    ),
    Mutant(
        "acceptance: a full mailbox takes no more",
        "            if used >= quota or used + size > quota:\n",
        "            if False:\n",
        ("test_a_full_mailbox",),
    ),
    Mutant(
        "acceptance: a mailbox takes no message beyond its quota",
        "            if used >= quota or used + size > quota:\n",
        "            if used >= quota:\n",
        ("test_a_full_mailbox",),
    ),
    Mutant(
        "acceptance: an alias that has ended is unknown",
        "            mailbox = mailbox if now < mailbox.ends_at else None\n",
        "",
        ("test_an_alias_ends_at_its_time",),
    ),
    Mutant(
        "acceptance: an alias that ends soon is asked each time",
        "            bounded = mailbox.ends_at - now < _NEAR\n",
        "            bounded = False\n",
        ("test_an_alias_ends_at_its_time",),
    ),
    Mutant(
        "acceptance: an alias never sends",
        "                if not alias:\n",
        "                if False:\n",
        ("test_who_sends", "test_an_alias_receives_and_never_sends"),
    ),
    Mutant(
        "acceptance: a mailbox with a quota is asked each time",
        "            if found.state is RecipientStatus.ACTIVE and not found.bounded:\n",
        "            if found.state is RecipientStatus.ACTIVE:\n",
        ("test_a_mailbox_with_a_quota_is_asked_each_time",),
    ),
    Mutant(
        "acceptance: what is refused is not remembered as open",
        "            if found.state is RecipientStatus.ACTIVE and not found.bounded:\n",
        "            if not found.bounded:\n",
        ("test_an_open_mailbox_is_remembered_for_a_moment", "test_states"),
    ),
    Mutant(
        "acceptance: what is remembered is relied on for a moment",
        "        return self._open if self._clock() < self._holds_until else {}\n",
        "        return self._open\n",
        ("test_an_open_mailbox_is_remembered_for_a_moment",),
    ),
    Mutant(
        "acceptance: a change of a mailbox ends what is remembered",
        "        if answers.number != self._number or begun >= self._ends or",
        "        if begun >= self._ends or",
        (
            "test_memory_outlasts_a_look_that_finds_no_change",
            "test_an_open_mailbox_is_remembered_for_a_moment",
        ),
    ),
    Mutant(
        "disk guard: below the floor mail is put off",
        "        return _LOW if self.low or lacking else None\n",
        "        return None\n",
        ("test_low_space_is_told_with_the_rule_and_the_figures", "test_octets"),
    ),
    Mutant(
        "disk guard: a declared size leaves the floor free",
        "        if self.octets - size < raised(floor.min_free_bytes):\n",
        "        if self.octets < raised(floor.min_free_bytes):\n",
        ("test_a_declared_size_must_leave_the_floor_free",),
    ),
    Mutant(
        "disk guard: inodes count",
        "        return self.inodes is not None and self.inodes < raised(floor.min_free_inodes)\n",
        "        return False\n",
        ("test_inodes", "test_the_floor"),
    ),
    Mutant(
        "disk guard: a store that fails takes no mail",
        "        if self.trouble:\n            return _UNWELL\n",
        "",
        ("test_unwell_from_the_first_failure_until_a_probe_succeeds",),
    ),
    Mutant(
        "disk guard: it is asked at MAIL",
        "    context.disk_guard.check(parameters.size)\n",
        "",
        ("test_a_disk_nearly_full_puts_mail_off",),
    ),
    Mutant(
        "disk guard: it hears of a message that could not be stored",
        "        session.context.disk_guard.failed(problem.detail)\n",
        "        pass\n",
        ("test_a_body_that_cannot_be_written_is_read_to_its_end",),
    ),
    Mutant(
        "disk guard: a failure during a probe is not forgotten",
        "        elif look.probed and failures == self._failures:",
        "        elif look.probed:",
        ("test_a_failure_during_a_probe_is_not_forgotten",),
    ),
)
