"""The pages for sysadmins: links lead somewhere, and the replies they explain are those given."""

import re
from pathlib import Path

import pytest

from tests.support.rules.references import ROOT
from tests.support.rules.replies import replies_of_the_relay

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), target


def test_every_reply_of_the_relay_is_explained() -> None:
    given = replies_of_the_relay()
    assert len(given) > 20
    explained = (ROOT / "docs" / "replies.md").read_text(encoding="utf-8")
    assert {reply for reply in given if f"`{reply}`" not in explained} == set()


def test_readme_shows_the_two_commands_first() -> None:
    first_screen = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:8]
    assert any(line.startswith("make run ") for line in first_screen)
    assert any(line.startswith("make test ") for line in first_screen)
