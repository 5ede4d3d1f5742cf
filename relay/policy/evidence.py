"""The text of evidence in findings, for operators' eyes."""

from whitelist.national.lookup import WhiteList
from whitelist.pki.distinguished_name import DistinguishedName
from whitelist.pki.trust_store import ChainVerdict


def chain_evidence(chain: ChainVerdict) -> str:
    """The evidence of a chain's verdict: detail, missing CRLs, and until when its CRLs serve."""
    until = f"CRLs serve until {chain.crl_until.isoformat()}" if chain.crl_until else ""
    return "; ".join(filter(None, (chain.detail, chain.alarm, until)))


def entry_evidence(white_list: WhiteList, name: DistinguishedName, domain: str) -> str:
    """The entry that ties a domain to a name, as listed and as presented."""
    entry = white_list.entry_for(name, domain)
    listed = entry.dn_text if entry else "nothing"
    return f"{domain} is listed with {listed}; presented {name}"
