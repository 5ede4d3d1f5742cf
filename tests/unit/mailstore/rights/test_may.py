"""`may`: each reason, each type of mailbox, each role (DOMAIN §9.36, §9.37, §9.44, §9.45)."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from mailstore.accounts.kinds import AccountKind, AccountState
from mailstore.credentials.proof import Method, Proof
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.states import MailboxState
from mailstore.rights.may import ALLOWED_BY_ROLE, CONTENT, entitled, may, may_with_role
from mailstore.rights.model import (
    TEXTS,
    ActingAccount,
    Action,
    ActorFacts,
    BreakGlass,
    Grant,
    MailboxFacts,
    Period,
    Reason,
    Right,
    RightsPolicy,
    Role,
    RoleName,
    TeamFacts,
)
from tests.support.clock import NOW
from tests.support.people.proofs import shown

RPPS = Identifier(IdentifierKind.RPPS, "10000001916")
OTHER_RPPS = Identifier(IdentifierKind.RPPS, "10000005479")
FINESS = Identifier(IdentifierKind.FINESS, "2A0000154")
HOUR = timedelta(hours=1)
ALWAYS = Period(NOW - HOUR)

DOCTOR = ActingAccount(
    1, "dr.martin", 1, AccountKind.PERSON, AccountState.ACTIVE, frozenset({RPPS})
)
NURSE = ActingAccount(
    2, "ide.petit", 1, AccountKind.PERSON, AccountState.ACTIVE, groups=frozenset({7})
)
PROGRAM = ActingAccount(3, "labo", 1, AccountKind.SOFTWARE, AccountState.ACTIVE)

PER = MailboxFacts(10, MailboxType.PER, MailboxState.ACTIVE, 1, 100, RPPS)
ORG = MailboxFacts(11, MailboxType.ORG, MailboxState.ACTIVE, 1, 100, FINESS)
APP = MailboxFacts(12, MailboxType.APP, MailboxState.ACTIVE, 1, 100, FINESS)
CAB = MailboxFacts(13, MailboxType.CAB, MailboxState.ACTIVE, 1, 100, OTHER_RPPS, frozenset({RPPS}))

STRONG = shown(Method.OIDC, 2)
PASSWORD = shown(Method.PASSWORD, 1)
CERTIFICATE = shown(Method.CERTIFICATE, 1)
READ = frozenset({Right.READ})
ALL_RIGHTS = frozenset(Right)


def actor(
    account: ActingAccount,
    *grants: Grant,
    proof: Proof | None = STRONG,
    roles: tuple[Role, ...] = (),
    glass: tuple[BreakGlass, ...] = (),
) -> ActorFacts:
    return ActorFacts(account, proof, grants, roles, glass)


def to(
    account: ActingAccount,
    mailbox: MailboxFacts,
    rights: frozenset[Right] = READ,
    period: Period = ALWAYS,
) -> Grant:
    return Grant(mailbox.id, rights, period, account_id=account.id)


def test_the_holder_of_a_mailbox_may_do_everything_with_content() -> None:
    for action in (*CONTENT, Action.MANAGE):
        verdict = may(actor(DOCTOR), action, PER, NOW)
        assert (verdict.allowed, verdict.reason) == (True, Reason.HOLDER)
    assert not may(actor(DOCTOR), Action.ADMINISTER, PER, NOW).allowed
    assert not may(actor(DOCTOR), Action.AUDIT, PER, NOW).allowed


def test_a_holder_whose_number_was_replaced_holds_on() -> None:
    """DOMAIN U3: match any identifier; a new number does not take the mailbox away."""
    adeli = Identifier(IdentifierKind.ADELI, "012807590")
    renamed = replace(DOCTOR, identifiers=frozenset({adeli, RPPS}))
    assert may(actor(renamed), Action.READ, PER, NOW).allowed
    assert not may(
        actor(replace(DOCTOR, identifiers=frozenset({adeli}))), Action.READ, PER, NOW
    ).allowed


def test_co_holders_of_a_practice_hold_its_mailbox() -> None:
    """DOMAIN §9.37: one responsible RPPS, co-holders beside."""
    responsible = replace(DOCTOR, identifiers=frozenset({OTHER_RPPS}))
    assert may(actor(DOCTOR), Action.SEND, CAB, NOW).reason is Reason.HOLDER
    assert may(actor(responsible), Action.SEND, CAB, NOW).reason is Reason.HOLDER
    assert not may(actor(NURSE), Action.SEND, CAB, NOW).allowed


def test_a_program_with_the_number_of_a_person_holds_nothing() -> None:
    program = replace(PROGRAM, identifiers=frozenset({RPPS}))
    assert not may(actor(program, proof=CERTIFICATE), Action.READ, PER, NOW).allowed


@pytest.mark.parametrize("right", Right)
def test_a_grant_gives_its_rights_alone(right: Right) -> None:
    asked = {Action.READ, Action.ACT, Action.SEND, Action.MANAGE}
    facts = actor(NURSE, to(NURSE, ORG, frozenset({right})))
    allowed = {action for action in Action if may(facts, action, ORG, NOW).allowed}
    assert allowed == {action for action in asked if action.value == right.value}


def test_a_grant_begins_and_ends_at_its_times() -> None:
    facts = actor(NURSE, to(NURSE, ORG, READ, Period(NOW, NOW + HOUR)))
    moments = (
        NOW - timedelta(microseconds=1),
        NOW,
        NOW + HOUR - timedelta(microseconds=1),
        NOW + HOUR,
    )
    assert [may(facts, Action.READ, ORG, at).allowed for at in moments] == [
        False,
        True,
        True,
        False,
    ]


def test_a_group_gives_to_its_members_alone() -> None:
    grant = Grant(ORG.id, READ, ALWAYS, group_id=7)
    assert may(actor(NURSE, grant), Action.READ, ORG, NOW).reason is Reason.GROUP
    assert not may(actor(DOCTOR, grant), Action.READ, ORG, NOW).allowed


def test_grants_of_others_and_on_others_give_nothing() -> None:
    assert not may(actor(NURSE, to(DOCTOR, ORG)), Action.READ, ORG, NOW).allowed
    assert not may(actor(NURSE, to(NURSE, ORG)), Action.READ, CAB, NOW).allowed


@pytest.mark.parametrize(
    ("account", "mailbox", "proof", "reason"),
    [
        (NURSE, ORG, None, Reason.NOT_LOGGED_IN),
        (replace(NURSE, state=AccountState.SUSPENDED), ORG, STRONG, Reason.ACCOUNT_NOT_ACTIVE),
        (replace(NURSE, state=AccountState.CLOSED), ORG, STRONG, Reason.ACCOUNT_NOT_ACTIVE),
        (replace(NURSE, tenant_id=2), ORG, STRONG, Reason.OTHER_TENANT),
        (NURSE, replace(ORG, state=MailboxState.SUSPENDED), STRONG, Reason.MAILBOX_NOT_ACTIVE),
        (NURSE, replace(ORG, state=MailboxState.CLOSED), STRONG, Reason.MAILBOX_NOT_ACTIVE),
        (NURSE, ORG, replace(STRONG, mailbox_id=CAB.id), Reason.OTHER_MAILBOX),
        (NURSE, ORG, PASSWORD, Reason.ONE_FACTOR),
        (NURSE, CAB, PASSWORD, Reason.ONE_FACTOR),
        (NURSE, ORG, CERTIFICATE, Reason.WRONG_METHOD),
        (NURSE, APP, STRONG, Reason.WRONG_METHOD),
        (PROGRAM, ORG, STRONG, Reason.WRONG_METHOD),
        (PROGRAM, PER, CERTIFICATE, Reason.WRONG_METHOD),
        (PROGRAM, APP, shown(Method.APP_PASSWORD, 1, APP.id), Reason.WRONG_METHOD),
        (PROGRAM, ORG, shown(Method.GRACE, 1, ORG.id), Reason.WRONG_METHOD),
    ],
)
def test_each_refusal_though_a_grant_gives_all(
    account: ActingAccount, mailbox: MailboxFacts, proof: Proof | None, reason: Reason
) -> None:
    verdict = may(
        actor(account, to(account, mailbox, ALL_RIGHTS), proof=proof), Action.READ, mailbox, NOW
    )
    assert (verdict.allowed, verdict.reason) == (False, reason)
    assert verdict.text == TEXTS[reason]


@pytest.mark.parametrize(
    ("account", "mailbox", "proof"),
    [
        (NURSE, ORG, STRONG),
        (NURSE, PER, PASSWORD),
        (NURSE, PER, shown(Method.APP_PASSWORD, 1, PER.id)),
        (PROGRAM, APP, CERTIFICATE),
        (PROGRAM, ORG, CERTIFICATE),
    ],
)
def test_each_method_that_opens(
    account: ActingAccount, mailbox: MailboxFacts, proof: Proof
) -> None:
    facts = actor(account, to(account, mailbox), proof=proof)
    assert may(facts, Action.READ, mailbox, NOW).reason is Reason.GRANT


TEAM = TeamFacts(replace(shown(Method.GRACE, 1, ORG.id), account=None))
MOVING = replace(ORG, grace_since=NOW, grace_until=NOW + HOUR)
LAST = NOW + HOUR - timedelta(microseconds=1)


@pytest.mark.parametrize("action", Action)
def test_the_shared_password_of_a_team_opens_content_and_manages_nothing(action: Action) -> None:
    verdict = may(TEAM, action, MOVING, LAST)
    assert verdict.allowed is (action in CONTENT)
    assert verdict.reason is (Reason.TEAM if action in CONTENT else Reason.WRONG_METHOD)


@pytest.mark.parametrize(
    ("facts", "mailbox", "at", "reason"),
    [
        (TEAM, MOVING, NOW + HOUR, Reason.GRACE_OVER),
        (TEAM, ORG, NOW, Reason.GRACE_OVER),  # the move has ended, or there never was one
        # Another move has begun since, perhaps with another password.
        (TEAM, replace(MOVING, grace_since=NOW + HOUR / 2), LAST, Reason.GRACE_OVER),
        (TEAM, replace(MOVING, id=CAB.id), NOW, Reason.OTHER_MAILBOX),
        (TEAM, replace(MOVING, state=MailboxState.SUSPENDED), NOW, Reason.MAILBOX_NOT_ACTIVE),
        (TEAM, replace(MOVING, state=MailboxState.CLOSED), NOW, Reason.MAILBOX_NOT_ACTIVE),
        (TeamFacts(STRONG), MOVING, NOW, Reason.WRONG_METHOD),
        (TeamFacts(replace(PASSWORD, mailbox_id=ORG.id)), MOVING, NOW, Reason.WRONG_METHOD),
    ],
)
def test_a_shared_password_that_opens_nothing(
    facts: TeamFacts, mailbox: MailboxFacts, at: datetime, reason: Reason
) -> None:
    verdict = may(facts, Action.READ, mailbox, at)
    assert (verdict.allowed, verdict.reason) == (False, reason)


def test_an_account_gets_nothing_by_a_shared_password() -> None:
    proof = shown(Method.GRACE, 1, ORG.id)
    facts = actor(NURSE, to(NURSE, ORG), proof=proof)
    assert may(facts, Action.READ, MOVING, NOW).reason is Reason.WRONG_METHOD


def test_types_that_need_two_factors_are_the_operators_choice() -> None:
    facts = actor(NURSE, to(NURSE, ORG), proof=PASSWORD)
    assert may(facts, Action.READ, ORG, NOW, RightsPolicy(frozenset())).allowed
    policy = RightsPolicy(frozenset({MailboxType.PER}))
    assert (
        may(actor(DOCTOR, proof=PASSWORD), Action.READ, PER, NOW, policy).reason
        is Reason.ONE_FACTOR
    )


@pytest.mark.parametrize("role", RoleName)
def test_no_role_gives_content(role: RoleName) -> None:
    """DOMAIN U1.2: administrators have no ordinary path to content."""
    facts = actor(NURSE, roles=(Role(role, ALWAYS),))
    for action in Action:
        verdict = may(facts, action, ORG, NOW)
        assert verdict.allowed == (action in ALLOWED_BY_ROLE[role])
        assert not (verdict.allowed and action in CONTENT)


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        (Role(RoleName.HELPDESK, ALWAYS), True),
        (Role(RoleName.HELPDESK, ALWAYS, tenant_id=1), True),
        (Role(RoleName.HELPDESK, ALWAYS, tenant_id=2), False),
        (Role(RoleName.HELPDESK, ALWAYS, domain_id=100), True),
        (Role(RoleName.HELPDESK, ALWAYS, domain_id=101), False),
        (Role(RoleName.HELPDESK, Period(NOW - HOUR, NOW)), False),
        (Role(RoleName.HELPDESK, Period(NOW + HOUR)), False),
    ],
)
def test_the_scope_and_the_period_of_a_role(role: Role, allowed: bool) -> None:
    assert may(actor(NURSE, roles=(role,)), Action.TRACE, ORG, NOW).allowed is allowed
    assert may_with_role((role,), Action.TRACE, 1, 100, NOW) is allowed


def test_a_role_on_a_domain_does_not_cover_its_tenant() -> None:
    role = Role(RoleName.MANAGER, ALWAYS, domain_id=100)
    assert not may_with_role((role,), Action.ADMINISTER, 1, None, NOW)


def test_only_a_role_for_the_whole_operator_crosses_tenants() -> None:
    abroad = replace(NURSE, tenant_id=2)
    whole = (Role(RoleName.MANAGER, ALWAYS),)
    assert may(actor(abroad, roles=whole), Action.ADMINISTER, ORG, NOW).allowed
    # Not even then does a grant or a holder's number give content of another tenant.
    granted = actor(abroad, to(abroad, ORG), Grant(ORG.id, READ, ALWAYS, group_id=7), roles=whole)
    assert may(granted, Action.READ, ORG, NOW).reason is Reason.NO_RIGHT
    doctor = replace(DOCTOR, tenant_id=2)
    assert not may(actor(doctor, roles=whole), Action.READ, PER, NOW).allowed


def test_a_role_for_a_domain_that_moved_away_gives_nothing() -> None:
    abroad = replace(NURSE, tenant_id=2)
    manager = Role(RoleName.MANAGER, ALWAYS, domain_id=ORG.domain_id)
    helpdesk = Role(RoleName.HELPDESK, ALWAYS)  # for the whole: it crosses, and only traces
    facts = actor(abroad, roles=(manager, helpdesk))
    assert may(facts, Action.TRACE, ORG, NOW).allowed
    assert not may(facts, Action.ADMINISTER, ORG, NOW).allowed


@pytest.mark.parametrize("role", RoleName)
def test_a_role_counts_only_with_two_factors(role: RoleName) -> None:
    """As DOMAIN §9.36 asks it for ORG mailboxes: an administrator reaches more than any of them."""
    for scope in (Role(role, ALWAYS), Role(role, ALWAYS, tenant_id=1)):
        facts = actor(NURSE, proof=PASSWORD, roles=(scope,))
        lenient = RightsPolicy(two_factors_for_roles=False)
        for action in Action:
            given = action in ALLOWED_BY_ROLE[role]
            verdict = may(facts, action, PER, NOW)
            assert not verdict.allowed
            assert (verdict.reason is Reason.ROLE_ONE_FACTOR) is given
            assert may(facts, action, PER, NOW, lenient).allowed is given


def test_a_break_glass_access_counts_only_with_two_factors() -> None:
    glass, operator = (BreakGlass(PER.id, ALWAYS),), (Role(RoleName.OPERATOR, ALWAYS, tenant_id=1),)
    facts = actor(NURSE, proof=PASSWORD, glass=glass, roles=operator)
    assert may(facts, Action.READ, PER, NOW).reason is Reason.ROLE_ONE_FACTOR
    lenient = RightsPolicy(two_factors_for_roles=False)
    assert may(facts, Action.READ, PER, NOW, lenient).reason is Reason.BREAK_GLASS
    # It takes no other right away.
    held = actor(DOCTOR, proof=PASSWORD, glass=glass, roles=operator)
    assert may(held, Action.READ, PER, NOW).reason is Reason.HOLDER


def test_a_bound_credential_manages_nothing() -> None:
    facts = actor(DOCTOR, proof=shown(Method.APP_PASSWORD, 1, PER.id))
    assert may(facts, Action.READ, PER, NOW).allowed
    assert may(facts, Action.MANAGE, PER, NOW).reason is Reason.WRONG_METHOD


def test_break_glass_reads_and_does_nothing_else_until_its_end() -> None:
    glass = (BreakGlass(ORG.id, Period(NOW, NOW + HOUR)),)
    operator = (Role(RoleName.OPERATOR, Period(NOW - HOUR), tenant_id=1),)
    # Whoever has no longer the role has no longer the access.
    late = actor(NURSE, glass=glass)
    assert may(late, Action.READ, ORG, NOW).reason is not Reason.BREAK_GLASS
    facts = actor(NURSE, glass=glass, roles=operator)
    assert may(facts, Action.READ, ORG, NOW).reason is Reason.BREAK_GLASS
    assert may(facts, Action.READ, replace(ORG, state=MailboxState.CLOSED), NOW).allowed
    assert not may(facts, Action.READ, ORG, NOW + HOUR).allowed
    assert not may(facts, Action.READ, CAB, NOW).allowed
    for action in (Action.ACT, Action.SEND):
        assert not may(facts, action, ORG, NOW).allowed


def test_a_report_asks_without_a_credential() -> None:
    facts = actor(NURSE, to(NURSE, ORG), proof=None)
    assert entitled(facts, Action.READ, ORG, NOW).allowed
    assert not entitled(facts, Action.SEND, ORG, NOW).allowed
    assert not entitled(facts, Action.READ, replace(ORG, state=MailboxState.CLOSED), NOW).allowed
