"""Questions of an act before it changes anything."""

from datetime import timedelta

import pytest

from mailstore.accounts.kinds import AccountKind, AccountState
from mailstore.audit.event import AuditActor, Door
from mailstore.credentials.proof import Method
from mailstore.db.database import Database
from mailstore.rights.model import (
    ActingAccount,
    Action,
    ActorFacts,
    Period,
    RightsPolicy,
    Role,
    RoleName,
)
from mssante_operator.services.acts import ActTransaction
from mssante_operator.services.permission import NotAllowed
from tests.support.clock import NOW
from tests.support.people.proofs import shown

OURS, THEIRS, DOMAIN = 1, 2, 100
ALWAYS = Period(NOW - timedelta(hours=1))


@pytest.mark.parametrize(
    ("role", "tenant", "allowed"),
    [
        (Role(RoleName.MANAGER, ALWAYS, domain_id=DOMAIN), OURS, True),
        # The domain has moved to another tenant: the role does not cross with it.
        (Role(RoleName.MANAGER, ALWAYS, domain_id=DOMAIN), THEIRS, False),
        (Role(RoleName.MANAGER, ALWAYS, tenant_id=THEIRS), THEIRS, False),
        (Role(RoleName.MANAGER, ALWAYS), THEIRS, True),
    ],
)
def test_only_a_role_for_the_whole_operator_crosses_tenants(
    database: Database, role: Role, tenant: int, *, allowed: bool
) -> None:
    account = ActingAccount(7, "chef", OURS, AccountKind.PERSON, AccountState.ACTIVE)
    facts = ActorFacts(account, shown(Method.OIDC, 2), roles=(role,))
    actor = AuditActor(account="chef", unix_user="root", door=Door.COMMAND)
    with database.read() as conn:
        act = ActTransaction(conn, actor, lambda: NOW, facts, RightsPolicy())
        if allowed:
            act.require_role(Action.ADMINISTER, tenant, DOMAIN)
        else:
            with pytest.raises(NotAllowed):
                act.require_role(Action.ADMINISTER, tenant, DOMAIN)
    # A refusal names the tenant, so that its auditors find it.
    assert act.tenant == tenant


def test_however_an_address_is_typed_a_search_finds_the_act(database: Database) -> None:
    actor = AuditActor(account=None, unix_user="root", door=Door.COMMAND)
    with database.read() as conn:
        act = ActTransaction(conn, actor, lambda: NOW, None, RightsPolicy())
        for typed in ("Bloc@CHU.mssante.fr", '"bloc"@chu.mssante.fr'):
            act.audit("mailbox.exported", mailbox=typed)
    assert [event.mailbox for event in act.events] == ["bloc@chu.mssante.fr"] * 2
