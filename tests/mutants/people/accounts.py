"""Guards of people: identifiers, closing, log-in, credentials."""

from tests.mutants.model import Mutant

_MATCH = ("test_matching_follows_each_history", "test_a_replaced_identifier_identifies_no_more")
_CLOSED = ("test_closing_ends_everything_domain_9_36",)
_APP = ("test_it_opens_one_mailbox_by_its_protocols",)
_GIVING = ("test_not_every_request_is_granted",)
_CODE = ("test_a_code_is_the_second_factor_domain_9_36",)

MUTANTS = (
    Mutant(
        "people: an ended identifier identifies nobody",
        "            columns.tenant_id == tenant_id,\n            columns.ended_at.is_(None),\n",
        "            columns.tenant_id == tenant_id,\n",
        _MATCH,
    ),
    Mutant(
        "people: identifiers are found within their tenant",
        "            columns.tenant_id == tenant_id,\n            columns.ended_at.is_(None),\n",
        "            columns.ended_at.is_(None),\n",
        ("test_tenants_do_not_see_each_other_s_identifiers",),
    ),
    Mutant(
        "people: identifiers of two accounts open neither",
        "    if len(found) > 1:\n        logins",
        "    if False:\n        logins",
        ("test_two_accounts_are_not_one_person",),
    ),
    Mutant(
        "people: closing ends the credentials",
        "    endings += end_credentials(conn, credentials.c.account_id == account.id, now)\n",
        "",
        _CLOSED,
    ),
    Mutant(
        "people: closing ends the grants",
        "    endings += end_grants(conn, grants.c.account_id == account.id, now)\n",
        "",
        _CLOSED,
    ),
    Mutant(
        "people: a closed account gets nothing more",
        "    if conn.scalar(row.with_for_update()) == AccountState.CLOSED:\n",
        "    if False:\n",
        ("test_a_suspended_account_can_be_resumed",),
    ),
    Mutant(
        "people: a group has members of its tenant alone",
        "    if account.tenant_id != group.tenant_id:\n",
        "    if False:\n",
        ("test_groups_stay_within_their_tenant",),
    ),
    Mutant(
        "log-in: a suspended account is refused",
        "        if not known.active:\n",
        "        if False:\n",
        ("test_whatever_is_wrong_costs_one_hash_and_says_the_same",),
    ),
    Mutant(
        "log-in: an account with TOTP needs a code",
        "            if known.has_totp:\n",
        "            if False:\n",
        _CODE,
    ),
    Mutant(
        "log-in: a wrong code is refused",
        "        if second is None:\n            raise LoginRefused",
        "        if False:\n            raise LoginRefused",
        _CODE,
    ),
    Mutant(
        "log-in: codes at once are tried one by one",
        "            if account_wait(row.failed_logins, row.failed_at, at):\n",
        "            if False:\n",
        ("test_as_many_codes_are_free_as_one_by_one",),
    ),
    Mutant(
        "log-in: an account that ends during the hash is refused",
        "            now = _find(conn, name, at)\n        same",
        "            now = known\n        same",
        ("test_an_account_that_ended_while_its_password_is_compared",),
    ),
    Mutant(
        "rights: a revoked credential proves nothing",
        "    if not ids <= live | used:\n",
        "    if False:\n",
        ("test_a_revoked_credential_ends_what_it_opened",),
    ),
    Mutant(
        "rights: a break-glass access ends with the role",
        "        and _has_role(actor, Action.ASK_CONTENT, mailbox, at)\n",
        "",
        ("test_a_break_glass_access_ends_with_the_role",),
    ),
    Mutant(
        "rights: a closed account gets no grant",
        "        lock_live_account(conn, grantee.id, grantee.name)\n",
        "",
        ("test_a_closed_account_gets_neither_grants_nor_roles",),
    ),
    Mutant(
        "rights: a role gives no content to its own account",
        "        if source is Reason.ROLE and (own or mailbox.type is MailboxType.PER):\n",
        "        if False:\n",
        ("test_an_account_needs_its_password_and_a_right",),
    ),
    Mutant(
        "rights: a domain does not move with its administrators",
        "    if conn.scalar(select(granted | opened | administered)):\n",
        "    if conn.scalar(select(granted | opened)):\n",
        ("test_a_domain_with_administrators_stays",),
    ),
    Mutant(
        "log-in: an account that fails too often waits",
        "        if known.waits:\n",
        "        if False:\n",
        ("test_an_account_waits_at_every_machine",),
    ),
    Mutant(
        "log-in: a name that fails too often from an origin waits",
        "        if self._throttle.must_wait(name, origin, at):\n",
        "        if False:\n",
        ("test_a_pair_of_name_and_origin_waits_unseen_names_too",),
    ),
    Mutant(
        "log-in: an unknown name costs a hash",
        "        known = self._nobody if verifier is None else verifier\n",
        "        if verifier is None:\n            return False\n        known = verifier\n",
        ("test_few_run_at_once",),
    ),
    Mutant(
        "totp: a step is taken once",
        "            or_(credentials.c.last_step.is_(None), credentials.c.last_step < step),\n",
        "",
        ("test_a_secret_is_kept_sealed_for_its_account",),
    ),
    Mutant(
        "totp: no step before the last one",
        "step for step in equal if last_step is None or step > last_step",
        "step for step in equal",
        ("test_no_step_opens_twice",),
    ),
    Mutant(
        "app password: its end",
        "        (at >= row.ends_at, Refusal.ENDED),\n",
        "",
        _APP,
    ),
    Mutant(
        "app password: its mailbox",
        "        (row.mailbox_id != mailbox_id, Refusal.OTHER_MAILBOX),\n",
        "",
        _APP,
    ),
    Mutant(
        "app password: its protocols",
        "        (protocol not in protocols, Refusal.OTHER_PROTOCOL),\n",
        "",
        _APP,
    ),
    Mutant(
        "app password: its secret",
        "        (not right, Refusal.WRONG),\n",
        "",
        _APP,
    ),
    Mutant(
        "app password: never for APP",
        "return mailbox_type in self.types and mailbox_type is not MailboxType.APP",
        "return mailbox_type in self.types",
        ("test_off_unless_switched_on_and_never_for_app",),
    ),
    Mutant(
        "app password: given after two factors",
        "    return proof.factors >= 2 and now - _FRESH < proof.at <= now\n",
        "    return now - _FRESH < proof.at <= now\n",
        _GIVING,
    ),
    Mutant(
        "app password: for a mailbox of the tenant",
        "    if mailbox_tenant(conn, mailbox.id) != account.tenant_id:\n",
        "    if False:\n",
        _GIVING,
    ),
)
