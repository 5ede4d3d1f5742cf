"""Admission of servers that get our mail: every rule, alone (DOMAIN §3.3, §9.27)."""

from dataclasses import replace

import pytest

from relay.policy.admission import Peer
from relay.policy.server_admission import examine_server
from tests.support.sessions.attempts import peer, white_list
from whitelist.national.lookup import WhiteList
from whitelist.pki.trust_store import ChainStatus

B = "b.mssante.fr"
BARE = replace(peer(), certificate=None, chain=None)


def failed(server: Peer, white_list: WhiteList | None = None, domain: str = B) -> dict[str, str]:
    """The rules that fail, with their evidence."""
    found = examine_server(server, white_list, "the list is stale", domain)
    return {one.rule: one.evidence for one in found if not one.passed}


@pytest.mark.parametrize("name", ["b1", "b2"])
def test_a_listed_server_passes_every_rule(name: str) -> None:
    found = examine_server(peer(name), white_list(), "", B)
    assert [one.rule for one in found] == ["tls", "certificate", "chain", "name"]
    assert all(one.passed and one.evidence for one in found)


@pytest.mark.parametrize(
    ("server", "domain", "rules"),
    [
        (replace(peer(), tls_version=""), B, ["tls"]),
        (BARE, B, ["certificate"]),
        (replace(BARE, chain=peer(status=ChainStatus.UNTRUSTED).chain), B, ["certificate"]),
        (replace(peer(), chain=None), B, ["certificate"]),
        *((peer(status=status), B, ["chain"]) for status in ChainStatus if status != "trusted"),
        (peer("c"), B, ["name"]),
        (peer("intruder"), B, ["name"]),
        (peer("b1"), "sub.b.mssante.fr", ["name"]),
        (peer("b1"), "evil.fr", ["name"]),
        (peer("intruder", ChainStatus.EXPIRED), B, ["chain", "name"]),
        (Peer(), B, ["tls", "certificate"]),
    ],
)
def test_a_server_is_examined_by_every_rule(server: Peer, domain: str, rules: list[str]) -> None:
    assert list(failed(server, white_list(), domain)) == rules


def test_without_a_white_list_no_server_passes() -> None:
    assert failed(peer()) == {"list": "the list is stale"}
    assert failed(BARE) == {
        "list": "the list is stale",
        "certificate": "it shows no certificate",
    }


def test_the_evidence_says_with_whom_a_domain_is_listed() -> None:
    evidence = failed(peer("c"), white_list())["name"]
    assert evidence.startswith("it showed CN=smtp.c.mssante.fr")
    assert "CN=smtp.b1.mssante.fr" in evidence
    assert "CN=smtp.b2.mssante.fr" in evidence
    assert failed(peer(), white_list(), "evil.fr") == {
        "name": "evil.fr is not on the white list now"
    }
