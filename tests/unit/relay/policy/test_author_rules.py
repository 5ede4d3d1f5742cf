"""Authors of our own domains, which only we may use, and of third operators."""

from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from relay.policy.admission import AdmissionPolicy, Stage, admit, examine
from relay.policy.author_rules import noted_authors, seen_authors
from relay.policy.header_from import HeaderFromPolicy
from relay.smtp.errors import Refused
from relay.smtp.headers import UNREADABLE, HeaderFacts
from tests.support.machines.operators import ACTIVE, OURS, inbound
from tests.support.sessions.attempts import LIMIT, POLICY, attempt, authors, certificate, local
from tests.support.sessions.talking import call
from whitelist.pki.name_folding import fold

OWN = (OURS,)
TAG, OFF, REFUSE = HeaderFromPolicy.TAG, HeaderFromPolicy.OFF, HeaderFromPolicy.REFUSE


def own(policy: AdmissionPolicy) -> str:
    """The finding on an author of ours: its evidence, or the reply."""
    facts = attempt(policy=policy, header=authors(OURS), own_authors=OWN)
    found = [one for one in examine(facts, Stage.MESSAGE) if one.rule == "own-header-from"]
    return str(found[0].reply or found[0].evidence) if found else "not asked"


def test_our_own_domains_are_refused_by_default_whatever_is_done_about_others() -> None:
    for others in HeaderFromPolicy:
        said = own(AdmissionPolicy(LIMIT, others))
        assert said == f"550 5.7.1 Author domain {OURS} is ours, not listed with your certificate"


def test_the_switch_and_the_exceptions() -> None:
    name = fold(certificate("b1").subject.common_name or "")
    assert "tolerated by own_header_from" in own(replace(POLICY, own_header_from=TAG))
    assert own(replace(POLICY, own_header_from=OFF)) == "not asked"
    forwards = replace(POLICY, own_header_from_peers=frozenset({name}))
    assert "own_header_from_peers names this peer" in own(forwards)
    assert "550" in own(replace(POLICY, own_header_from_peers=frozenset({"smtp.c.mssante.fr"})))


def test_an_exception_passes_where_foreign_authors_are_refused() -> None:
    name = fold(certificate("b1").subject.common_name or "")
    policy = replace(POLICY, header_from=REFUSE, own_header_from_peers=frozenset({name}))
    admit(attempt(policy=policy, header=authors(OURS), own_authors=OWN), Stage.EVERY)
    facts = attempt(policy=policy, header=authors(OURS, "evil.fr"), own_authors=OWN)
    with pytest.raises(Refused, match=r"evil\.fr"):
        admit(facts, Stage.EVERY)


def test_our_own_users_are_not_asked() -> None:
    facts = local(header=authors("a.mssante.fr"))
    assert all(one.rule != "own-header-from" for one in examine(facts))


def test_a_domain_that_the_list_gives_to_the_peer_is_its_own() -> None:
    # In a migration both operators are listed for the domain.
    assert seen_authors(attempt(header=authors("b.mssante.fr"))) == ()
    shown = HeaderFacts(frozenset({"b.mssante.fr"}), shown_domains=frozenset({OURS}))
    assert seen_authors(attempt(header=shown)) == OWN


def test_what_is_noted_of_an_accepted_message() -> None:
    facts = attempt(header=authors(OURS, "evil.fr", UNREADABLE), own_authors=OWN)
    both = replace(POLICY, header_from=TAG, own_header_from=TAG)
    assert noted_authors(facts._replace(policy=both)) == (OURS, UNREADABLE, "evil.fr")
    assert noted_authors(facts._replace(policy=replace(both, header_from=OFF))) == OWN
    alone = replace(both, own_header_from=OFF)
    assert noted_authors(facts._replace(policy=alone)) == (UNREADABLE, "evil.fr")


# Whole sessions.

FORGED = [
    f"From: <{ACTIVE}>",
    f"From: Claire <{ACTIVE}>, <dr@b.mssante.fr>",
    f"From: <dr@b.mssante.fr>\r\nFrom: <{ACTIVE}>",
    f"From: <dr@b.mssante.fr>\r\nSender: <{ACTIVE}>",
    f"From: Equipe: <{ACTIVE}>, <dr@b.mssante.fr>;",
    f"From: =?utf-8?q?Equipe?=: <{ACTIVE}>;",
    "From: =?utf-8?q?=3Cclaire=2Emartin=40a=2Emssante=2Efr=3E?=",
    "From: =?utf-8?b?Y2xhaXJlLm1hcnRpbkBhLm1zc2FudGUuZnI=?= <dr@b.mssante.fr>",
    "From: =?utf-8?q?claire=40a=2E?=\r\n =?utf-8?q?mssante=2Efr?= <dr@b.mssante.fr>",
    f'From: "{ACTIVE}" <dr@b.mssante.fr>',
    f"From: <dr@b.mssante.fr> ({ACTIVE})",
    f"From: <{ACTIVE}.>, <dr@b.mssante.fr>",
]


@pytest.mark.parametrize("header", FORGED)
async def test_a_peer_does_not_write_in_our_name(tmp_path: Path, header: str) -> None:
    async with inbound(tmp_path, policy=AdmissionPolicy(100_000, OFF)) as server:
        caller = await call(server)
        said = await caller.send(body=f"{header}\r\n\r\nhello\r\n".encode())
        assert said.startswith(f"550 5.7.1 Author domain {OURS} is ours, not listed with your ")
        assert "(rule own-header-from; presented a.mssante.fr, CN=smtp.b.mssante.fr," in said
        assert (await caller.send()).startswith("250 2.0.0 ")
        caller.close()
        assert len(server.entries(ACTIVE)) == 1


async def test_who_forwards_our_mail_back_is_let_and_noted_in_the_log(tmp_path: Path) -> None:
    # DOMAIN U5: a forwarded message keeps its From.
    policy = AdmissionPolicy(100_000, own_header_from_peers=frozenset({"smtp.b.mssante.fr"}))
    with capture_logs() as logs:
        async with inbound(tmp_path, policy=policy) as server:
            caller, other = await call(server), await call(server, "c")
            body = f"From: <{ACTIVE}>\r\n\r\nhello\r\n".encode()
            accepted = await caller.send(body=body)
            assert accepted.startswith("250 2.0.0 ")
            refused = await other.send(sender="<dr@c.mssante.fr>", body=body)
            assert refused.startswith("550 5.7.1 ")
            caller.close()
            other.close()
    (noted,) = [line for line in logs if line["event"] == "header_from.foreign"]
    assert noted["domains"] == OWN
    assert noted["message"] == accepted.rpartition(" ")[2]


async def test_tag_is_in_the_log(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with inbound(tmp_path) as server:
            caller = await call(server)
            assert (await caller.send(body=b"From: <x@evil.fr>\r\n\r\n")).startswith("250 ")
            assert (await caller.send()).startswith("250 ")
            caller.close()
    (noted,) = [line for line in logs if line["event"] == "header_from.foreign"]
    assert noted["domains"] == ("evil.fr",)
