"""Guards of admission: of peers, of our own users, and of servers that we deliver to."""

from tests.mutants.model import Mutant

_REFUSED = ("test_refused",)
_SERVERS = ("test_a_server_is_examined_by_every_rule",)

MUTANTS = (
    Mutant(
        "admission: TLS is demanded",
        "    if not a.origin.tls_version:\n        return CLEAR_TEXT\n",
        "",
        _REFUSED,
    ),
    Mutant(
        "admission: a certificate is demanded",
        "if a.origin.certificate is None and a.origin.chain is None:",
        "if False:",
        _REFUSED,
    ),
    Mutant(
        "admission: a certificate must be readable",
        "    if a.origin.certificate is None:\n        reply = Reply(554",
        "    if False:\n        reply = Reply(554",
        _REFUSED,
    ),
    Mutant(
        "admission: a chain must have been judged",
        "    chain = a.origin.chain\n    if chain is None:\n",
        "    chain = a.origin.chain\n    if chain is None:\n        return None\n"
        "    if chain is None:\n",
        _REFUSED,
    ),
    Mutant(
        "admission: without revocation lists a peer is put off, not refused",
        "    if chain.status is ChainStatus.NO_CRL:\n        reply = Reply(451",
        "    if False:\n        reply = Reply(451",
        _REFUSED,
    ),
    Mutant(
        "admission: the chain must hold",
        '    if not chain.trusted:\n        reply = Reply(554, "5.7.1"',
        '    if False:\n        reply = Reply(554, "5.7.1"',
        _REFUSED,
    ),
    Mutant(
        "admission: there must be a white list",
        '    if a.white_list is None:\n        reply = Reply(451, "4.7.1", "National',
        "    if a.white_list is None:\n        return None\n"
        '    if a.white_list is None:\n        reply = Reply(451, "4.7.1", "National',
        _REFUSED,
    ),
    Mutant(
        "admission: the certificate's name must be listed",
        "    if not white_list.lists(name):\n",
        "    if False:\n",
        _REFUSED,
    ),
    Mutant(
        "admission: the sender's domain must be listed with the name",
        "    if not white_list.covers(name, domain):\n        reply = Reply(550",
        "    if False:\n        reply = Reply(550",
        _REFUSED,
    ),
    Mutant(
        "admission: a mailbox of ours that sends must be active",
        "        if a.origin.state not in {\n",
        "        if False and a.origin.state not in {\n",
        _REFUSED,
    ),
    Mutant(
        "admission: a message has a largest size",
        "    if a.size > limit:\n",
        "    if False:\n",
        _REFUSED,
    ),
    Mutant(
        "admission: mail to patients has a largest size",
        "if a.to_patients and found > limit:",
        "if False:",
        ("test_to_a_patient_over_the_limit",),
    ),
    Mutant(
        "admission: a recipient must be open for mail",
        "    if state.open_to_all:\n        return _ACTIVE_HERE",
        "    if state is not MailboxState.FOREIGN:\n        return _ACTIVE_HERE",
        _REFUSED,
    ),
    Mutant(
        "admission: nothing is relayed for peers",
        '    if isinstance(origin, Peer):\n        reply = Reply(550, "5.7.1", f"Relaying',
        '    if False:\n        reply = Reply(550, "5.7.1", f"Relaying',
        _REFUSED,
    ),
    Mutant(
        "admission: nothing leaves the trust space",
        "    if not white_list.names_of(address.domain):\n        reply",
        "    if False:\n        reply",
        _REFUSED,
    ),
    Mutant(
        "admission: a patient's address is an INS",
        '    if reply is not None:\n        return no("patient"',
        '    if False:\n        return no("patient"',
        _REFUSED,
    ),
    Mutant(
        "admission: a mail loop ends",
        '    if count > limit:\n        reply = Reply(554, "5.4.6"',
        '    if False:\n        reply = Reply(554, "5.4.6"',
        _REFUSED,
    ),
    Mutant(
        "admission: a header section has a largest size",
        "    if not header.complete:\n        reply = Reply(550",
        "    if False:\n        reply = Reply(550",
        ("test_dialogue[header_size-",),
    ),
    Mutant(
        "admission: a header section has a most of fields",
        "    if header.fields > policy.max_header_fields:\n",
        "    if False:\n",
        ("test_dialogue[header_size-",),
    ),
    Mutant(
        "admission: nobody writes in the name of our domains",
        "    if not a.own_authors:\n        return ok",
        "    if True:\n        return ok",
        ("test_the_switch_and_the_exceptions",),
    ),
    Mutant(
        "admission: authors belong to the peer",
        "    if not strangers:\n        return ok",
        "    if True:\n        return ok",
        _REFUSED,
    ),
    Mutant(
        "admission: by a list that may be old nobody is refused for good",
        "    if final:\n        return no(rule, reply, evidence, presented)\n",
        "    if True:\n        return no(rule, reply, evidence, presented)\n",
        ("test_by_a_list_that_may_be_old_nobody_is_refused_for_good",),
    ),
    Mutant(
        "admission: a finding that refuses is raised",
        "    if finding is not None and finding.reply is not None:\n",
        "    if False:\n",
        _REFUSED,
    ),
    Mutant(
        "admission: a mailbox without replies takes reports alone",
        "    if recipient.reports_only and not report and state in _WOULD_TAKE:\n",
        "    if False:\n",
        ("test_dialogue[no_reply-",),
    ),
    Mutant(
        "admission: reports reach a mailbox without replies",
        "        self._report = sender is None\n",
        "        self._report = False\n",
        ("test_dialogue[no_reply-",),
    ),
    Mutant(
        "admission: a recipient is asked for",
        "    policy.admit_recipient(Recipient(address, found.state, found.reports_only))\n",
        "",
        ("test_dialogue[recipients-",),
    ),
    Mutant(
        "admission: the sender is asked for",
        "        self._admit_peer(facts)\n        admit(facts, Stage.SENDER)\n",
        "        self._admit_peer(facts)\n",
        ("test_dialogue[other_domain-",),
    ),
    Mutant(
        "admission: the message is asked for",
        "        admit(facts, Stage.MESSAGE)\n        return noted",
        "        return noted",
        ("test_dialogue[loop-",),
    ),
    Mutant(
        "admission: the peer is asked for",
        "            admit(facts, Stage.PEER)\n        except Refused:",
        "            pass\n        except Refused:",
        ("test_dialogue[off_the_list-", "test_dialogue[no_certificate-"),
    ),
    Mutant(
        "admission: a peer that was let in is judged anew",
        "        if before.holds(context.trust_state, now):\n",
        "        if True:\n",
        ("test_a_certificate_revoked_in_the_middle_of_a_session",),
    ),
    Mutant(
        "admission: a verdict ends with its span",
        "self.since <= now < self.until and self.generation == trust_state",
        "self.generation == trust_state",
        ("test_a_certificate_that_runs_out_in_the_middle_of_a_session",),
    ),
    Mutant(
        "admission: a verdict ends with its trust store",
        "self.since <= now < self.until and self.generation == trust_state.trust.generation",
        "self.since <= now < self.until",
        ("test_a_certificate_revoked_in_the_middle_of_a_session",),
    ),
    Mutant(
        "admission: a newer white list counts at the next MAIL",
        "        unchanged = white_list is at_mail.white_list and peer is",
        "        unchanged = peer is",
        ("test_who_was_let_in_is_judged_anew_when_anything_changed",),
    ),
    Mutant(
        "admission: each sender's domain is asked for",
        "peer is self.peer and domain == before\n",
        "peer is self.peer\n",
        ("test_who_was_let_in_is_judged_anew_when_anything_changed",),
    ),
    Mutant(
        "admission: only a proven name counts as its bearer's",
        "chain is not None and chain.trusted:\n            self.name",
        "chain is not None:\n            self.name",
        ("test_a_name_that_is_not_proven_takes_no_place_of_its_bearer",),
    ),
    Mutant(
        "admission: a peer has a quota of messages",
        "        if 0 in {room.messages, room.recipients}:\n",
        "        if False:\n",
        ("test_messages_beyond_the_share_are_put_off",),
    ),
    Mutant(
        "admission: a message has a most of recipients",
        "    if transaction.recipients >= policy.max_recipients:\n",
        "    if False:\n",
        ("test_dialogue[too_many_recipients-",),
    ),
    Mutant(
        "admission: a connection has a most of messages",
        "    if session.tally.messages >= context.limits.max_messages:\n",
        "    if False:\n",
        ("test_dialogue[too_many_messages-",),
    ),
    Mutant(
        "admission of servers: TLS is demanded",
        '        ServerFinding("tls", bool(server.tls_version),',
        '        ServerFinding("tls", True,',
        _SERVERS,
    ),
    Mutant(
        "admission of servers: there must be a white list",
        '        findings.append(_failed("list", problem))\n',
        "        pass\n",
        ("test_without_a_white_list_no_server_passes",),
    ),
    Mutant(
        "admission of servers: a certificate is demanded",
        "    if server.certificate is None or server.chain is None:\n",
        "    if server.certificate is None or server.chain is None:\n"
        "        return tuple(findings)\n    if False:\n",
        _SERVERS,
    ),
    Mutant(
        "admission of servers: the chain must hold",
        '        ServerFinding("chain", server.chain.trusted,',
        '        ServerFinding("chain", True,',
        _SERVERS,
    ),
    Mutant(
        "admission of servers: the domain must be listed",
        "    if not names:\n        return (*findings, _failed(",
        "    if not names:\n        return tuple(findings)\n"
        "    if not names:\n        return (*findings, _failed(",
        _SERVERS,
    ),
    Mutant(
        "admission of servers: the name must be listed for the domain",
        "    if not white_list.covers(name, domain):\n        listed = ",
        "    if False:\n        listed = ",
        _SERVERS,
    ),
)
