"""Citations in a text (rules of MSSanté, RFCs, decisions, files, links), and their targets.

Pure except `read_tree`.  A `§` belongs to the last document named before it, at most `NEAR`
characters away; in docs/domain.md it belongs to that page.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = next(p for p in Path(__file__).parents if (p / "pyproject.toml").exists())
_TABLE: Final = Path(__file__).with_name("rfc_sections.txt")
NEAR: Final = 400  # largest distance between a document's name and its `§`, in characters

NO_DOCUMENT: Final = "no document"
DOMAIN_PAGE: Final = "docs/domain.md"
_RULES: Final = "DOMAIN"  # name of that page in citations
_READ: Final = {".py", ".md", ".toml", ".txt", ".yml", ".c", ".mako"}
_OWN: Final = "test_references.py"  # it cites missing targets on purpose

_NUMBER: Final = r"U?\d+(?:\.\d+)*"
_BREAK: Final = re.compile(r"\n[ \t]*(?:#|//|--|>)?[ \t]*")
_DOCUMENT: Final = re.compile(
    r"(?P<rules>\bDOMAIN\b(?=[ ]+(?:§|U?\d)))"
    r"|\bRFC +(?P<rfc>\d+(?:(?:,| or| and)(?: +|, +and +)\d{3,4}\b(?!\.))*)"
    r"|(?P<other>\bX\.\d{3}\b|\bhowtocorrupt\.html\b|\bRef#\d\b|\bENS\b)"
)
_SECTION: Final = re.compile(
    rf"§(?P<one>{_NUMBER})(?P<same>(?:[-–]§?{_NUMBER})?)"
    r"(?P<point>,? +step +\d{1,2}\b|, +\d{1,2}\b(?! *[\w%]))?(?!\\)"
)
# Without `§`: `DOMAIN U7, 20`, `RFC 5321 section 2.3.8`, `Appendix C`.
_BARE: Final = re.compile(
    r"(?<=DOMAIN)(?P<bare> +U\d[\d.]*(?:, U\d[\d.]*)*)(?P<bare_point>,? +\d{1,2}\b(?! *[\w%]))?"
    r"|\bsection +(?P<section>\d+(?:\.\d+)+)|\bAppendix +(?P<appendix>[A-Z])\b"
)
_DECISION: Final = re.compile(
    r"\bdocs/decisions/(?P<path>\d{4}[\w.-]*)"
    r"|\b[Dd]ecisions? +(?P<numbers>\d{1,4}\b(?:(?:,| and|, and) +\d{1,4}\b)*)"
)
_PATH: Final = re.compile(r"(?<![\w.$*{}/-])[\w.-]++(?:/(?:[\w.*:-]|\{[\w,]+\})*)+")
_LINK: Final = re.compile(r"\[(?P<text>[^\]\n]*)\]\((?P<target>[^)\s]+)\)")
_NUMBERED: Final = re.compile(r"(?:[Dd]ecisions? )?(\d{1,4})\Z")
_MODULE: Final = re.compile(r"`(?P<name>(?:[a-z_]+\.)+\w+)(?:\(\))?`")
_BLOCK: Final = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)
_FOREIGN: Final = re.compile(
    r"\b(?:DESIGN|ANCHORS|CLIENTS|LAYOUT)(?:\.md\b|:? +§|: +[a-z])|\bDOMAIN\.md\b"
    r"|\b[Ii]ssue +\d{1,2}\b"
)


@dataclass(frozen=True, slots=True, order=True)
class Citation:
    """Citation: document (`DOMAIN`, `RFC 5321`, `decision` …), and part of it."""

    document: str
    part: str
    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.document} {self.part}".rstrip()


@cache
def joined(text: str) -> str:
    """The text with line breaks and comment marks replaced by spaces; no character moves."""
    return _BREAK.sub(lambda found: " " * len(found[0]), text)


def sections_cited(path: str, text: str) -> Iterator[Citation]:
    """Cited sections of the rules and of RFCs, and named RFCs, with an empty `part`."""
    if "§" not in text and "RFC " not in text and _RULES not in text:
        return
    flat = joined(text)
    names = list(_DOCUMENT.finditer(flat))
    ends = [name.end() for name in names]
    for found in names:
        if found["rfc"]:
            for number in re.findall(r"\d+", found["rfc"]):
                yield Citation(f"RFC {number}", "", path, _line(text, found.start()))
    for found in (*_SECTION.finditer(flat), *_BARE.finditer(flat)):
        place = bisect_right(ends, found.start()) - 1
        near = place >= 0 and ends[place] >= found.start() - NEAR
        document = _document(path, names[place] if near else None, found.start())
        if document is None and "§" not in found[0]:
            continue  # a section of a document that the text does not name
        for part in _parts(found):
            yield Citation(document or NO_DOCUMENT, part, path, _line(text, found.start()))


def _document(path: str, name: re.Match[str] | None, start: int) -> str | None:
    if path == DOMAIN_PAGE and (name is None or start - name.end() > 1):
        return _RULES
    if name is None:
        return None
    if name["rules"]:
        return _RULES
    return f"RFC {name['rfc'].split()[-1]}" if name["rfc"] else name["other"]


def _parts(found: re.Match[str]) -> Iterator[str]:
    named = found.groupdict()
    numbers = named.get("one") or named.get("bare") or named.get("section") or named["appendix"]
    parts = [part.rstrip(".") for part in re.findall(rf"{_NUMBER}|[A-Z]", numbers)]
    parts += re.findall(_NUMBER, named.get("same") or "")
    point = re.search(r"\d+", named.get("point") or named.get("bare_point") or "")
    yield from parts[:-1]
    yield f"{parts[-1]}, {point[0]}" if point else parts[-1]


def decisions_cited(path: str, text: str) -> Iterator[Citation]:
    """Cited decisions, by number or name.  `part`: `0018`, or the whole file name."""
    flat = joined(text)
    for found in _DECISION.finditer(flat):
        line = _line(text, found.start())
        if found["path"]:
            yield Citation("decision", found["path"].rstrip("."), path, line)
        else:
            for number in re.findall(r"\d+", found["numbers"]):
                yield Citation("decision", number.zfill(4), path, line)


def links(path: str, text: str) -> Iterator[Citation]:
    """Relative links of a page, `part` as written; and decision links whose text differs."""
    for found in _LINK.finditer(text):
        line, target = _line(text, found.start()), found["target"]
        if "://" not in target:
            yield Citation("link", target, path, line)
            said = _NUMBERED.fullmatch(found["text"])
            linked = re.search(r"(?:^|/)(\d{4})-[^/]*\.md", target)
            if said and linked and int(said[1]) != int(linked[1]):
                yield Citation("link", f"{target} called {found['text']}", path, line)


def files_cited(path: str, text: str, tops: frozenset[str]) -> Iterator[Citation]:
    """Cited paths below the folders `tops` with a suffix of ours; also globs and braces.

    Paths in quotation marks are strings of the program, except in pyproject.toml.
    """
    quotes = "" if path.endswith(".toml") else "\"'"
    for found in _PATH.finditer(text):
        if found.start() and text[found.start() - 1] in quotes:
            continue
        cited = found[0].rstrip(".").removesuffix("::")
        while cited.startswith("../"):
            cited = cited.removeprefix("../")
        if cited.split("/")[0] in tops and Path(cited).suffix in _READ | {".svg"}:
            for name in _unbraced(cited):
                yield Citation("file", name, path, _line(text, found.start()))


def modules_cited(path: str, text: str, tops: frozenset[str]) -> Iterator[Citation]:
    """Cited modules and names in them, in backticks: `relay.policy.admission`."""
    for found in _MODULE.finditer(text):
        if found["name"].split(".")[0] in tops | {"mssante_operator"}:
            yield Citation("module", found["name"], path, _line(text, found.start()))


def foreign(path: str, text: str) -> Iterator[Citation]:
    """Citations of documents that are not in the repository."""
    for found in _FOREIGN.finditer(joined(text)):
        yield Citation("not here", found[0], path, _line(text, found.start()))


def _unbraced(text: str) -> list[str]:
    found = re.search(r"\{([\w,]+)\}", text)
    if found is None:
        return [text]
    return [text[: found.start()] + one + text[found.end() :] for one in found[1].split(",")]


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


@cache
def rfc_sections() -> dict[str, frozenset[str]]:
    """Cited RFC (`RFC 5321`) to the numbers of its sections."""
    table: dict[str, frozenset[str]] = {}
    for line in _TABLE.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            named, numbers = line.split(" | ")
            table[f"RFC {named.split()[0]}"] = frozenset(
                number for span in numbers.split() for number in _spanned(span)
            )
    return table


def _spanned(span: str) -> list[str]:
    first, _, last = span.partition("-")
    before, _, number = first.rpartition(".")
    if not last:
        return [first]
    return [f"{before}.{n}".lstrip(".") for n in range(int(number), int(last) + 1)]


def rules_of(page: str) -> frozenset[str]:
    """Numbers in docs/domain.md: `2.3`, `9.14`, `U1.3`, and points of a section: `3.2, 8`."""
    numbers, section = set(), ""
    for line in page.splitlines():
        if heading := re.match(rf"#+ ({_NUMBER})\.? ", line):
            section = heading[1]
            numbers.add(section)
        elif point := re.match(r"(?:\| )?(\d+)(?:\.| \|) ", line):
            numbers.add(f"{section}, {point[1]}")
        elif rule := re.match(r"\| (9\.\d+) \| ", line):
            numbers.add(rule[1])
    return frozenset(numbers)


def anchors(page: str) -> frozenset[str]:
    """Link fragments of the headings of a page."""
    found: dict[str, int] = {}
    for heading in _HEADING.findall(_BLOCK.sub("", page)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
        if found[slug]:
            found[f"{slug}-{found[slug]}"] = 0
    return frozenset(found)


def read_tree(names: tuple[Path, ...]) -> dict[str, str]:
    """Path below the root to text, for each given file that may have citations."""
    texts = {}
    for path in names:
        name = path.relative_to(ROOT).as_posix()
        if (path.suffix in _READ or name in {"Makefile", ".ci/run"}) and path.name != _OWN:
            texts[name] = path.read_text(encoding="utf-8")
    return texts
