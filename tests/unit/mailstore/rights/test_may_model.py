"""`may` against a naive reading of random histories of grants, roles, groups and states.

The naive reader keeps the history as a list and walks through it for each question; the product
reads its tables. Both must agree at every moment, for every account and action.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import product

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete

from mailstore.credentials.proof import Method
from mailstore.db.database import Database
from mailstore.db.people_schema import group_members
from mailstore.errors import Conflict, InvalidState
from mailstore.mailboxes.mailboxes import add_domain, get_domain
from mailstore.rights import grants, roles
from mailstore.rights.facts import load_actor, load_mailbox
from mailstore.rights.grants import Grantee
from mailstore.rights.may import may
from mailstore.rights.model import (
    Action,
    Period,
    Right,
    Role,
    RoleName,
)
from tests.support.clock import NOW
from tests.support.people import house
from tests.support.people.house import House
from tests.support.people.proofs import shown

HOUR = timedelta(hours=1)
STRONG, WEAK = shown(Method.OIDC, 2), shown(Method.PASSWORD, 1)
LOGINS = ("dr.martin", "ide.petit", "sec.durand")
BOXES = (house.ORG, house.CAB)
HELD = {("dr.martin", house.CAB)}  # by RPPS, as a co-holder
SETS = (
    frozenset({Right.READ}),
    frozenset({Right.READ, Right.ACT}),
    frozenset({Right.SEND}),
    frozenset({Right.MANAGE, Right.READ}),
    frozenset(Right),
)


@dataclass(frozen=True)
class Give:
    who: str  # a login, or "bloc" for the group
    box: str
    rights: frozenset[Right]
    begins: int
    hours: int | None


@dataclass(frozen=True)
class End:
    index: int  # of the grants given so far
    hour: int


@dataclass(frozen=True)
class Membership:
    login: str
    member: bool


@dataclass(frozen=True)
class State:
    login: str
    state: str


@dataclass(frozen=True)
class GiveRole:
    login: str
    name: RoleName
    scope: str  # "" for the whole operator, "operator" for the tenant, or a domain
    begins: int
    hours: int | None


ROLE_GIVES = {
    RoleName.OPERATOR: ("manage", "administer", "trace"),
    RoleName.MANAGER: ("manage", "administer"),
    RoleName.HELPDESK: ("trace",),
    RoleName.AUDITOR: ("trace",),
}
SCOPES = ("", "operator", "chu.mssante.fr", "vide.mssante.fr")
ACTIONS = (
    *(Action.READ, Action.ACT, Action.SEND),
    *(Action.MANAGE, Action.ADMINISTER, Action.TRACE),
)
Step = Give | End | Membership | State | GiveRole
logins = st.sampled_from(LOGINS)
steps = st.lists(
    st.one_of(
        st.builds(
            Give,
            who=st.sampled_from((*LOGINS, "bloc")),
            box=st.sampled_from(BOXES),
            rights=st.sampled_from(SETS),
            begins=st.integers(0, 20),
            hours=st.none() | st.integers(1, 12),
        ),
        st.builds(End, index=st.integers(0, 5), hour=st.integers(0, 24)),
        st.builds(Membership, login=logins, member=st.booleans()),
        st.builds(
            GiveRole,
            login=logins,
            name=st.sampled_from(RoleName),
            scope=st.sampled_from(SCOPES),
            begins=st.integers(0, 20),
            hours=st.none() | st.integers(1, 12),
        ),
        st.builds(State, login=logins, state=st.sampled_from(("active", "suspended"))),
    ),
    max_size=12,
)


@dataclass
class Naive:
    """History of grants as [who, box, rights, begin, end], members and suspended accounts."""

    given: list[list[object]] = field(default_factory=list)
    members: set[str] = field(default_factory=lambda: {"ide.petit"})
    suspended: set[str] = field(default_factory=set)
    roles: list[tuple[GiveRole, datetime, datetime | None]] = field(default_factory=list)

    def allows(self, login: str, action: Action, box: str, at: datetime, factors: int) -> bool:
        if login in self.suspended:
            return False
        content = action.value in ("read", "act", "send")
        if content and factors < 2:  # both mailboxes are of a type that needs two
            return False
        if factors == 2 and self._by_role(login, action, at):
            return True
        if not content and action.value != "manage":
            return False
        if (login, box) in HELD:
            return True
        for who, where, rights, begins, ends in self.given:
            concerned = who == login or (who == "bloc" and login in self.members)
            if not concerned or where != box:
                continue
            assert isinstance(rights, frozenset)
            assert isinstance(begins, datetime)
            over = isinstance(ends, datetime) and at >= ends
            if at >= begins and not over and action.value in rights:
                return True
        return False

    def _by_role(self, login: str, action: Action, at: datetime) -> bool:
        return any(
            given.login == login
            and action.value in ROLE_GIVES[given.name]
            and given.scope != "vide.mssante.fr"
            and at >= begins
            and (ends is None or at < ends)
            for given, begins, ends in self.roles
        )


@contextmanager
def undone(conn: Connection) -> Iterator[None]:
    """Undo at the end all that is written inside."""
    nested = conn.begin_nested()
    try:
        yield
    finally:
        nested.rollback()


def apply(conn: Connection, home: House, step: Step, naive: Naive, numbers: list[int]) -> None:
    match step:
        case Give(who, box, rights, begins, hours):
            begin = NOW + begins * HOUR
            end = None if hours is None else begin + hours * HOUR
            group = who == "bloc"
            number = home.groups[who] if group else home.accounts[who]
            try:
                numbers.append(
                    grants.give(
                        conn,
                        home.mailboxes[box],
                        1,
                        Grantee(number, who, 1, group),
                        rights,
                        Period(begin, end),
                        given_by="root",
                    )
                )
            except Conflict:  # one in force then; the naive reader would not care
                return
            naive.given.append([who, box, rights, begin, end])
        case End(index, hour):
            if index < len(numbers):
                at = NOW + hour * HOUR
                try:
                    grants.end(conn, numbers[index], at)
                except InvalidState:
                    return
                grant = naive.given[index]
                begun = grant[3]
                assert isinstance(begun, datetime)
                grant[4] = max(at, begun)
        case Membership():
            apply_membership(conn, home, step, naive)
        case GiveRole():
            apply_role(conn, home, step, naive)
        case State(login, state):
            house.set_account_state(conn, home.accounts[login], state)
            naive.suspended.discard(login)
            if state == "suspended":
                naive.suspended.add(login)


def apply_membership(conn: Connection, home: House, step: Membership, naive: Naive) -> None:
    number = home.accounts[step.login]
    naive.members.discard(step.login)
    conn.execute(delete(group_members).where(group_members.c.account_id == number))
    if step.member:
        naive.members.add(step.login)
        house.join(conn, home.groups["bloc"], number)


def apply_role(conn: Connection, home: House, step: GiveRole, naive: Naive) -> None:
    begin = NOW + step.begins * HOUR
    end = None if step.hours is None else begin + step.hours * HOUR
    domain = get_domain(conn, step.scope).id if "." in step.scope else None
    tenant = home.tenants[step.scope] if step.scope == "operator" else None
    role = Role(step.name, Period(begin, end), tenant, domain)
    try:
        roles.give_role(conn, home.accounts[step.login], role, given_by="root")
    except Conflict:  # it has this role then
        return
    naive.roles.append((step, begin, end))


def test_may_agrees_with_a_naive_reading_of_the_history(database: Database) -> None:
    """DOMAIN §9.36: access by individual accounts, by grants alone."""
    with database.write() as start:
        home = house.build(start)
        add_domain(start, "vide.mssante.fr", now=NOW)
    asked = allowed = 0

    @settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
    @given(steps, st.lists(st.integers(-1, 36), min_size=1, max_size=4))
    def agree(history: list[Step], hours: list[int]) -> None:
        nonlocal asked, allowed
        with undone(conn):
            naive, numbers = Naive(), list[int]()
            for step in history:
                apply(conn, home, step, naive, numbers)
            for login, proof in product(LOGINS, (STRONG, WEAK)):
                facts = load_actor(conn, home.accounts[login], proof)
                for box in BOXES:
                    mailbox = load_mailbox(conn, box)
                    for action in ACTIONS:
                        for hour in hours:
                            at = NOW + hour * HOUR
                            verdict = may(facts, action, mailbox, at)
                            assert verdict.allowed == naive.allows(
                                login, action, box, at, proof.factors
                            ), (
                                login,
                                action,
                                box,
                                at,
                                verdict.reason,
                            )
                            asked += 1
                            allowed += verdict.allowed

    with database.write() as conn:
        agree()
    assert 0 < allowed < asked
