"""Replies of the relay, found in its sources."""

import re

from tests.support.rules.references import ROOT


def replies_of_the_relay() -> set[str]:
    """Code and enhanced code of every refusal in the sources; 501 5.5.4 is SyntaxRefused's own."""
    sources = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "relay").rglob("*.py"))
    stated = re.findall(r'(?:Reply\(\s*|code=)([45]\d\d), (?:enhanced=)?"([45]\.\d\.\d)"', sources)
    return {f"{code} {enhanced}" for code, enhanced in stated} | {"501 5.5.4"}
