"""Guards of the desk: queue, trace, search and audit trail by role."""

from tests.mutants.model import Mutant

_COVERED = ("test_a_domain_a_tenant_and_the_whole",)
_VIEW = ("test_mail_to_us_shows_no_other_recipient_and_no_way_out",)
_AUDITOR = ("test_an_auditor_reads_the_rows_of_the_own_tenant",)

MUTANTS = (
    Mutant(
        "queue: an action of an account needs the whole operator",
        "    if act.account_id is not None:\n        with act.write() as change:\n"
        "            change.require_whole(Action.QUEUE)\n    return QueueAdmin",
        "    return QueueAdmin",
        ("test_without_a_role_nothing_is_counted",),
    ),
    Mutant(
        "queue: each message of an action has its audit row",
        "        for one in changed:\n            change.audit(\n",
        "        for one in ():\n            change.audit(\n",
        ("test_each_message_has_its_row_in_the_audit_trail",),
    ),
    Mutant(
        "queue: the audit rows are in the transaction of the change",
        "            note(connection, touched)\n",
        "        with database.write() as connection:\n            note(connection, touched)\n",
        ("test_a_note_is_part_of_the_transaction",),
    ),
    Mutant(
        "queue: a view of some domains has no reasons of others",
        "    return MASK if text is not None and wanted.of_domains is not None else text\n",
        "    return text\n",
        ("test_a_view_of_some_domains_has_no_reason_and_no_error_of_others",),
    ),
    Mutant(
        "trace: a domain that went to another tenant is not covered",
        "    return [of_home] if scope.entire else [of_home, domains.c.id.in_(scope.domains)]\n",
        "    return [of_home] if scope.entire else [domains.c.id.in_(scope.domains)]\n",
        ("test_a_role_does_not_follow_a_domain_to_another_tenant",),
    ),
    Mutant(
        "trace: a role for a domain covers no other",
        "[of_home, domains.c.id.in_(scope.domains)]",
        "[of_home]",
        _COVERED,
    ),
    Mutant(
        "trace: other tenants' mailboxes are not shown",
        "            if has(one.mailbox)\n",
        "",
        _VIEW,
    ),
    Mutant(
        "trace: the way out is for the sender's desk",
        "            if found is None and self.covered.has(sender):\n",
        "            if found is None:\n",
        _VIEW,
    ),
    Mutant(
        "trace: a message of others is as if unknown",
        "        if not self.concerns(sender, addressed):\n            return None\n",
        "",
        ("test_a_message_of_others_is_as_if_unknown",),
    ),
    Mutant(
        "trace: a search by a hidden recipient finds nothing",
        "    if terms.address not in {None, address_key(one.sender)} and not view.recipients(\n",
        "    if terms.address == '' and not view.recipients(\n",
        ("test_by_role",),
    ),
    Mutant(
        "audit: a tenant's auditor reads no row of another",
        "    return replace(wanted, tenant_id=covered.tenant_id, domains=domains)\n",
        "    return replace(wanted, domains=domains)\n",
        _AUDITOR,
    ),
    Mutant(
        "audit: an auditor of a domain reads no row of another",
        "    domains = None if covered.entire else covered.domains\n",
        "    domains = None\n",
        _AUDITOR,
    ),
)
