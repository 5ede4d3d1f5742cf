"""The pages of docs/decisions: each has its head, and the index has each."""

from pathlib import Path

import pytest

from tools.decisions import FOLDER, NOT_USED, Decision, index, read

PAGES = sorted(FOLDER.glob("*-*.md"))
HEAD = (
    "# 7. A title\n\n- Status: accepted; narrowed by [8](0008-b.md)\n- Date: 2026-11-30\n\nText.\n"
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_page_has_its_head(page: Path) -> None:
    read(page)


def test_pages_were_found_and_the_index_lists_each() -> None:
    assert len(PAGES) > 50
    listed = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES if f"({page.name})" not in listed] == []


def test_a_head_is_read(tmp_path: Path) -> None:
    page = tmp_path / "0007-a-title.md"
    page.write_text(HEAD)
    status = "accepted; narrowed by [8](0008-b.md)"
    assert read(page) == Decision(7, "A title", status, "2026-11-30", page.name)


@pytest.mark.parametrize(
    ("there", "instead"),
    [
        ("# 7.", "# 8."),
        ("# 7. ", "# 0007: "),
        ("- Status: accepted", "- Status: perhaps"),
        ("- Status", "Status"),
        ("- Date: 2026-11-30\n", ""),
        ("2026-11-30", "30/11/2026"),
    ],
)
def test_another_head_is_refused(tmp_path: Path, there: str, instead: str) -> None:
    page = tmp_path / "0007-a-title.md"
    page.write_text(HEAD.replace(there, instead))
    with pytest.raises(ValueError, match=page.name):
        read(page)


def decision(number: int) -> Decision:
    return Decision(number, f"Title {number}", "accepted", "2026-11-30", f"{number:04d}-a.md")


def test_a_number_without_a_page_has_its_reason_in_the_index() -> None:
    rows = index([decision(1), decision(3)], {2: "a reason"}).splitlines()[-3:]
    assert rows == [
        "| 1 | [Title 1](0001-a.md) | accepted | 2026-11-30 |",
        "| 2 | no page: a reason | | |",
        "| 3 | [Title 3](0003-a.md) | accepted | 2026-11-30 |",
    ]
    with pytest.raises(ValueError, match="no page has the number 2"):
        index([decision(1), decision(3)], {})


def test_no_number_is_used_twice() -> None:
    with pytest.raises(ValueError, match="is taken"):
        index([decision(1), decision(1)], {})


def test_no_page_has_a_number_that_is_said_to_have_none() -> None:
    assert NOT_USED.keys() & {read(page).number for page in PAGES} == set()
