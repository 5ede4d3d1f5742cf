"""Scope of administrators: against a naive reading of roles, against `may`, and in SQL."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailstore.accounts.accounts import list_accounts
from mailstore.accounts.kinds import AccountKind, AccountState
from mailstore.accounts.tenants import list_tenants
from mailstore.credentials.proof import Method, Proof
from mailstore.db.database import Database
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox, list_domains, list_mailboxes
from mailstore.mailboxes.sent_counts import count_sent, list_sending
from mailstore.mailboxes.states import MailboxState
from mailstore.rights import break_glass, grants, reports, roles
from mailstore.rights.break_glass import Asker
from mailstore.rights.grants import Grantee
from mailstore.rights.may import may
from mailstore.rights.model import (
    ActingAccount,
    Action,
    ActorFacts,
    MailboxFacts,
    Period,
    Reason,
    Right,
    RightsPolicy,
    Role,
    RoleName,
)
from mailstore.rights.scope import LISTING, may_by_role, scope_of
from mailstore.scope.model import WHOLE, Scope
from tests.support.clock import NOW
from tests.support.people import house
from tests.support.people.proofs import shown

HOUR = timedelta(hours=1)
FINESS = Identifier(IdentifierKind.FINESS, "2A0000154")
TENANTS, DOMAINS = (1, 2), (10, 11, 20)
STRONG, WEAK = shown(Method.PASSWORD, 2), shown(Method.PASSWORD, 1)
BOUND = shown(Method.PASSWORD, 2, 5)
GIVES = {
    "operator": {
        *("manage", "administer", "trace", "audit", "roles", "ask-content", "agree-content")
    },
    "manager": {"manage", "administer"},
    "helpdesk": {"trace"},
    "auditor": {"trace", "audit", "agree-content"},
}

role_lists = st.lists(
    st.builds(
        lambda name, begins, hours, place: Role(
            name,
            Period(NOW + begins * HOUR, None if hours is None else NOW + (begins + hours) * HOUR),
            *place,
        ),
        st.sampled_from(RoleName),
        st.integers(-3, 1),
        st.none() | st.integers(1, 4),
        st.sampled_from(
            [
                (None, None),
                *((tenant, None) for tenant in TENANTS),
                *((None, one) for one in DOMAINS),
            ]
        ),
    ),
    max_size=4,
)
accounts = st.builds(
    ActingAccount,
    id=st.just(1),
    login=st.just("anne"),
    tenant_id=st.sampled_from(TENANTS),
    kind=st.just(AccountKind.PERSON),
    state=st.sampled_from([AccountState.ACTIVE, AccountState.ACTIVE, AccountState.SUSPENDED]),
)
owners = st.fixed_dictionaries({one: st.sampled_from(TENANTS) for one in DOMAINS})
proofs = st.sampled_from([STRONG, STRONG, WEAK, BOUND, None])


def naive(
    actor: ActorFacts, action: Action, tenant: int, domain: int | None, at: datetime, *, two: bool
) -> bool:
    """Read the roles one after the other, as the documentation says it."""
    account, proof = actor.account, actor.proof
    if account.state != "active" or proof is None or proof.mailbox_id is not None:
        return False
    if two and proof.factors < 2:
        return False
    for role in actor.roles:
        over = role.period.ends is not None and at >= role.period.ends
        if at < role.period.begins or over or action.value not in GIVES[role.name.value]:
            continue
        if role.tenant_id is None and role.domain_id is None:
            return True
        mine = account.tenant_id == tenant
        if mine and (role.tenant_id == tenant or (domain and role.domain_id == domain)):
            return True
    return False


@given(accounts, proofs, role_lists, owners, st.sets(st.sampled_from(Action)), st.booleans())
def test_a_scope_agrees_with_a_naive_reading_of_roles_and_with_may(
    account: ActingAccount,
    proof: Proof | None,
    held: list[Role],
    owner: dict[int, int],
    asked: set[Action],
    two: bool,
) -> None:
    actor = ActorFacts(account, proof, roles=tuple(held))
    policy, actions = RightsPolicy(two_factors_for_roles=two), frozenset(asked)
    scope = scope_of(actor, actions, NOW, policy)
    for domain, tenant in owner.items():
        expected = any(naive(actor, one, tenant, domain, NOW, two=two) for one in actions)
        assert scope.covers(tenant, domain) == expected
        box = MailboxFacts(5, MailboxType.ORG, MailboxState.ACTIVE, tenant, domain, FINESS)
        by_role = actions - {Action.READ, Action.ACT, Action.SEND}
        if proof is not BOUND:  # it is for this mailbox alone, and for content
            allowed = any(may(actor, one, box, NOW, policy).allowed for one in by_role)
            assert allowed == scope_of(actor, by_role, NOW, policy).covers(tenant, domain)
    for tenant in TENANTS:
        expected = any(naive(actor, one, tenant, None, NOW, two=two) for one in actions)
        assert scope.covers(tenant) == expected
        verdict = may_by_role(actor, actions, lambda part: part.covers(tenant), NOW, policy)  # noqa: B023 - called at once
        assert verdict.allowed == expected
    assert scope.empty == (
        not any(scope.covers(tenant, one) for one in DOMAINS for tenant in TENANTS)
    )


def anne(*held: Role, proof: Proof | None = STRONG) -> ActorFacts:
    account = ActingAccount(1, "anne", 1, AccountKind.PERSON, AccountState.ACTIVE)
    return ActorFacts(account, proof, roles=held)


def test_the_reason_says_what_is_missing() -> None:
    manager = Role(RoleName.MANAGER, Period(NOW), tenant_id=1)

    def reason(actor: ActorFacts, action: Action = Action.ADMINISTER) -> Reason:
        return may_by_role(actor, frozenset({action}), lambda part: part.covers(1), NOW).reason

    assert reason(anne(manager)) is Reason.ROLE
    assert reason(anne(manager, proof=WEAK)) is Reason.ROLE_ONE_FACTOR
    assert reason(anne(manager, proof=WEAK), Action.ROLES) is Reason.NO_RIGHT
    assert reason(anne(manager, proof=BOUND)) is Reason.WRONG_METHOD
    assert reason(anne(manager, proof=None)) is Reason.NOT_LOGGED_IN
    suspended = replace(anne().account, state=AccountState.SUSPENDED)
    assert reason(replace(anne(manager), account=suspended)) is Reason.ACCOUNT_NOT_ACTIVE


def test_each_role_sees_lists() -> None:
    for name in RoleName:
        assert scope_of(anne(Role(name, Period(NOW))), LISTING, NOW).whole
    assert scope_of(anne(), LISTING, NOW).empty


@pytest.mark.parametrize("part", ["whole", "clinique", "chu", "one domain", "another's domain"])
def test_lists_and_reports_show_what_is_in_the_scope(database: Database, part: str) -> None:
    with database.write() as conn:
        home = house.build(conn)
        add_domain(conn, "bloc.mssante.fr", now=NOW)
        add_mailbox(conn, "x@bloc.mssante.fr", MailboxType.ORG, FINESS, now=NOW)
        numbers = {one.name: one.id for one in list_domains(conn)}
        clinic, nurse = home.tenants["clinique"], home.accounts["ide.petit"]
        scope = {
            "whole": WHOLE,
            "clinique": Scope(clinic, entire=True),
            "chu": Scope(1, entire=True),
            "one domain": Scope(1, domains=frozenset({numbers["bloc.mssante.fr"]})),
            # It moved to another tenant after the role was given.
            "another's domain": Scope(1, domains=frozenset({numbers["clinique.mssante.fr"]})),
        }[part]
        boxes = list_mailboxes(conn)
        domain_of = {one.name: (one.tenant_id, one.id) for one in list_domains(conn)}
        for box in boxes:
            who = "abroad" if box.tenant_id == clinic else "ide.petit"
            grantee = Grantee(home.accounts[who], who, box.tenant_id)
            read, period = frozenset({Right.READ}), Period(NOW, NOW + HOUR)
            grants.give(conn, box.id, box.tenant_id, grantee, read, period, given_by="root")
            count_sent(conn, box.id, NOW, 1)
            asker = Asker(nurse, "ide.petit", "root")
            break_glass.ask(conn, box.id, asker, "x", NOW, NOW + HOUR, needs_second=False)
        for login, role in (
            ("ide.petit", Role(RoleName.AUDITOR, Period(NOW))),
            ("ide.petit", Role(RoleName.AUDITOR, Period(NOW), tenant_id=1)),
            ("abroad", Role(RoleName.AUDITOR, Period(NOW), tenant_id=clinic)),
            ("ide.petit", Role(RoleName.MANAGER, Period(NOW), None, numbers["bloc.mssante.fr"])),
            ("abroad", Role(RoleName.MANAGER, Period(NOW), None, numbers["clinique.mssante.fr"])),
        ):
            roles.give_role(conn, home.accounts[login], role, given_by="root")
        seen = {one.address for one in boxes if scope.covers(*domain_of[one.domain])}
        later = NOW + 2 * HOUR

        assert {one.address for one in list_mailboxes(conn, scope=scope)} == seen
        page = list_mailboxes(conn, scope=scope, limit=1)
        rest = list_mailboxes(conn, scope=scope, after=page[0].address) if page else []
        assert {one.address for one in (*page, *rest)} == seen
        assert {one.address for one in list_sending(conn, NOW, 99, scope)} == seen
        assert {one.mailbox for one in grants.list_grants(conn, scope=scope)} == seen
        assert {one.mailbox for one in break_glass.list_accesses(conn, scope=scope)} == seen
        assert {one.name for one in list_domains(conn, scope)} == {
            name for name, place in domain_of.items() if scope.covers(*place)
        }
        assert {one.name for one in list_tenants(conn, scope)} == {
            name for name, number in home.tenants.items() if scope.covers(number)
        }
        people = {one.login for one in list_accounts(conn, limit=99) if scope.covers(one.tenant_id)}
        assert {one.login for one in list_accounts(conn, scope=scope)} == people
        unused = reports.unused_accounts(conn, later, scope=scope)
        assert {one.login for one in unused} == people
        unreadable = set(reports.unreadable_mailboxes(conn, later)) & seen
        assert set(reports.unreadable_mailboxes(conn, later, scope=scope)) == unreadable
        everyone = roles.list_roles(conn)
        within = [
            one
            for one in everyone
            if scope.whole
            or (one.role.tenant_id is not None and scope.covers(one.role.tenant_id))
            or (one.scope in domain_of and scope.covers(*domain_of[one.scope]))
        ]
        assert roles.list_roles(conn, scope=scope) == within
        # Nobody in this house has an authenticator app.
        assert reports.one_factor_roles(conn, NOW, scope) == within
