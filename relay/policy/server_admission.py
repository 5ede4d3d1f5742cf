"""Admission of the server that is about to get our mail (DOMAIN §3.3, §9.27).

The mirror of `admission`: rules over the server's TLS facts, the white list, and the recipient's
domain.  Delivery and `mssante whitelist explain server` ask the same function.
"""

from dataclasses import dataclass

from relay.policy.admission import Peer
from relay.policy.evidence import chain_evidence, entry_evidence
from whitelist.national.lookup import WhiteList


@dataclass(frozen=True, slots=True)
class ServerFinding:
    """The result of one rule, with its evidence."""

    rule: str
    passed: bool
    evidence: str


def _passed(rule: str, evidence: str) -> ServerFinding:
    return ServerFinding(rule, passed=True, evidence=evidence)


def _failed(rule: str, evidence: str) -> ServerFinding:
    return ServerFinding(rule, passed=False, evidence=evidence)


def examine_server(
    server: Peer, white_list: WhiteList | None, problem: str, domain: str
) -> tuple[ServerFinding, ...]:
    """Every rule in order, as far as the facts reach; mail may be sent if all have passed.

    `problem` says why there is no white list.
    """
    findings = [
        ServerFinding("tls", bool(server.tls_version), f"{server.tls_version} {server.cipher}")
    ]
    if white_list is None:
        findings.append(_failed("list", problem))
    if server.certificate is None or server.chain is None:
        said = server.chain.detail if server.chain else "it shows no certificate"
        return (*findings, _failed("certificate", said))
    name = server.certificate.subject
    findings += [
        _passed("certificate", f"{name} serial {server.certificate.serial:x}"),
        ServerFinding("chain", server.chain.trusted, chain_evidence(server.chain)),
    ]
    if white_list is None:
        return tuple(findings)
    names = white_list.names_of(domain)
    if not names:
        return (*findings, _failed("name", f"{domain} is not on the white list now"))
    if not white_list.covers(name, domain):
        listed = "; ".join(sorted(map(str, names)))
        said = f"it showed {name}, not listed for {domain}, which is listed with {listed}"
        return (*findings, _failed("name", said))
    return (*findings, _passed("name", entry_evidence(white_list, name, domain)))
