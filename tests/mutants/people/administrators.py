"""Guards of administrators: two factors, scopes, other tenants unseen, no access to oneself."""

from tests.mutants.model import Mutant

_WEAK = ("test_a_role_counts_only_with_two_factors",)
_LISTS = ("test_lists_and_reports_show_what_is_in_the_scope",)
_MODEL = ("test_a_scope_agrees_with_a_naive_reading_of_roles_and_with_may",)
_UNKNOWN = ("test_things_of_another_tenant_look_like_unknown_ones",)

MUTANTS = (
    Mutant(
        "administrators: roles count with two factors alone",
        "    if proof is None or proof.factors > 1 or not policy.two_factors_for_roles:\n",
        "    if True:\n",
        _WEAK,
    ),
    Mutant(
        "administrators: break-glass accesses count with two factors alone",
        "    return replace(actor, roles=(), break_glass=())\n",
        "    return replace(actor, roles=())\n",
        ("test_a_break_glass_access_counts_only_with_two_factors",),
    ),
    Mutant(
        "administrators: a role for a domain counts within the account's tenant",
        "    roles = [role for role in actor.roles if same or role.whole]\n",
        "    roles = list(actor.roles)\n",
        ("test_a_role_for_a_domain_that_moved_away_gives_nothing",),
    ),
    Mutant(
        "administrators: a domain belongs to the account's tenant",
        "        return tenant_id == self.home and (self.entire or domain_id in self.domains)\n",
        "        return (tenant_id == self.home and self.entire) or domain_id in self.domains\n",
        _MODEL,
    ),
    Mutant(
        "administrators: a credential for one mailbox administers nothing",
        "    return None if actor.proof.mailbox_id is None else Reason.WRONG_METHOD\n",
        "    return None\n",
        _MODEL,
    ),
    Mutant(
        "administrators: a role holds in its period",
        "        if role.period.holds(at) and ALLOWED_BY_ROLE[role.name] & actions\n",
        "        if ALLOWED_BY_ROLE[role.name] & actions\n",
        _MODEL,
    ),
    Mutant(
        "administrators: lists of some domains",
        "    return [of_home] if scope.entire else [of_home, domains.c.id.in_(scope.domains)]\n",
        "    return [of_home]\n",
        _LISTS,
    ),
    Mutant(
        "administrators: lists by tenant are not for a domain's administrator",
        "    return [tenant_id == scope.home] if scope.entire else [false()]\n",
        "    return [tenant_id == scope.home]\n",
        _LISTS,
    ),
    Mutant(
        "administrators: a command asks, or is refused",
        "        if not self.permitted and self.facts is not None:\n",
        "        if False:\n",
        ("test_a_command_that_asks_nothing_is_refused",),
    ),
    Mutant(
        "administrators: a mailbox of another tenant looks unknown",
        " if foreign and not told else None\n",
        " if False else None\n",
        _UNKNOWN,
    ),
    Mutant(
        "administrators: what is nobody's is asked for the whole",
        "scope.whole if tenant_id is None else",
        "True if tenant_id is None else",
        _UNKNOWN,
    ),
    Mutant(
        "administrators: nobody gives a grant to itself by a role",
        "        own = grantee.id in account.groups if grantee.group else "
        "grantee.id == account.id\n",
        "        own = False\n",
        ("test_an_account_needs_its_password_and_a_right",),
    ),
    Mutant(
        "administrators: nobody becomes a holder by a role",
        "        if facts is not None and facts.account.identifiers & set(given):\n",
        "        if False:\n",
        ("test_a_manager_does_not_become_a_holder",),
    ),
    Mutant(
        "administrators: who has a role is suspended by who could end it",
        "        change.require_role(Action.ROLES, found.tenant_id)\n",
        "        pass\n",
        ("test_a_manager_of_a_tenant_and_its_people",),
    ),
    Mutant(
        "administrators: in an import, domains of others seem not hosted",
        "    hosted = {domain.name for domain in list_domains(conn, scope)}\n",
        "    hosted = {domain.name for domain in list_domains(conn)}\n",
        ("test_an_import_within_the_domains_of_the_manager",),
    ),
    Mutant(
        "administrators: the domain of an alias needs a role too",
        '    change.require_domain(address_key(alias).rpartition("@")[2], Action.ADMINISTER)\n',
        "",
        ("test_a_manager_of_one_domain",),
    ),
)
