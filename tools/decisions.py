"""Index of docs/decisions: number, title, status and date, read from the head of each page."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "decisions"

# Numbers without a page, with the reason, so that nobody looks for a lost page.
_SET_ASIDE = "the number was not used"
NOT_USED = dict.fromkeys((23, 24, 28, 46, 63), _SET_ASIDE)

_HEAD = re.compile(
    r"# (?P<number>\d+)\. (?P<title>\S[^\n]*)\n\n"
    r"- Status: (?P<status>(?:proposed|accepted|superseded|rejected)\b[^\n]*)\n"
    r"- Date: (?P<date>\d{4}-\d\d-\d\d)\n\n"
)

_INTRODUCTION = """\
# Decisions

Why things are as they are: one page for each decision that somebody could question.
[CONTRIBUTING](../../CONTRIBUTING.md#decisions) says how to write one. Generated from the heads of
the pages by `make docs`.

| | Decision | Status | Date |
| ---: | --- | --- | --- |
"""


@dataclass(frozen=True)
class Decision:
    """The head of a page."""

    number: int
    title: str
    status: str
    date: str
    file: str

    def row(self) -> str:
        """The decision's row in the index."""
        return f"| {self.number} | [{self.title}]({self.file}) | {self.status} | {self.date} |"


def read(page: Path) -> Decision:
    """Parse the head of a page; ValueError for a wrong form, or another number than the file's."""
    found = _HEAD.match(page.read_text(encoding="utf-8"))
    if not found:
        raise ValueError(
            f"{page.name} must begin with: # N. Title, an empty line, - Status: accepted, "
            "- Date: YYYY-MM-DD, an empty line"
        )
    if not page.name.startswith(f"{int(found['number']):04d}-"):
        raise ValueError(f"{page.name} has the number {found['number']} in its title")
    return Decision(int(found["number"]), found["title"], found["status"], found["date"], page.name)


def index(decisions: Iterable[Decision], not_used: dict[int, str]) -> str:
    """The index page; ValueError for a number used twice, or missing without a reason."""
    rows: dict[int, str] = {}
    for decision in decisions:
        if decision.number in rows:
            raise ValueError(f"{decision.file}: the number {decision.number} is taken")
        rows[decision.number] = decision.row()
    last = max(rows)
    for number in range(1, last):
        if number not in rows:
            if number not in not_used:
                raise ValueError(f"no page has the number {number}: say why in tools/decisions.py")
            rows[number] = f"| {number} | no page: {not_used[number]} | | |"
    return _INTRODUCTION + "".join(f"{rows[number]}\n" for number in sorted(rows))


def page() -> str:
    """The index of the existing pages."""
    return index(map(read, sorted(FOLDER.glob("[0-9]*.md"))), NOT_USED)
