"""Whatever code, tests and pages cite is there: rules, RFC sections, decisions, files, links."""

import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.rules.references import (
    DOMAIN_PAGE,
    NO_DOCUMENT,
    ROOT,
    Citation,
    anchors,
    decisions_cited,
    files_cited,
    foreign,
    links,
    modules_cited,
    read_tree,
    rfc_sections,
    rules_of,
    sections_cited,
)

HISTORY = "CHANGELOG.md"  # names files as they were
# Folders whose names are tables of the configuration too: `whitelist.url` is no module.
TABLES = frozenset({"whitelist"})
NO_MODULES = frozenset({"operator", "config"})  # the first is imported as mssante_operator


@cache
def files() -> tuple[Path, ...]:
    """Every file that git has or would take; of an archive, every file."""
    if (ROOT / ".git").exists():
        words = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
        listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        found = [ROOT / name for name in listed.split("\0") if name]
    else:
        found = [p for p in ROOT.rglob("*") if not p.relative_to(ROOT).parts[0].startswith(".")]
    return tuple(path for path in found if path.is_file())


@cache
def texts() -> dict[str, str]:
    return read_tree(files())


@cache
def tops() -> frozenset[str]:
    return frozenset(name.split("/")[0] for name in texts() if "/" in name and name[0] != ".")


@cache
def rules() -> frozenset[str]:
    return rules_of(texts()[DOMAIN_PAGE])


@cache
def decisions() -> frozenset[str]:
    return frozenset(path.name for path in (ROOT / "docs/decisions").glob("*.md"))


@cache
def settings() -> frozenset[str]:
    example = (ROOT / "config/mssante.example.toml").read_text(encoding="utf-8")
    return frozenset(re.findall(r"^(?:# )?(\w+) = ", example, re.MULTILINE))


def is_an_event(name: str) -> bool:
    """Whether the code has a name as a text of its own, as names of events are."""
    return any(f'"{name}"' in text for path, text in texts().items() if path.endswith(".py"))


def of_files(path: str, text: str) -> Iterator[Citation]:
    return iter(()) if path == HISTORY else files_cited(path, text, tops())


def of_links(path: str, text: str) -> Iterator[Citation]:
    return links(path, text) if path.endswith(".md") else iter(())


def of_modules(path: str, text: str) -> Iterator[Citation]:
    return iter(()) if path == HISTORY else modules_cited(path, text, tops() - NO_MODULES)


def in_sections(cited: Citation) -> bool:
    """Whether the section is there; one of no document is not."""
    if cited.document == "DOMAIN":
        return cited.part in rules()
    if cited.document.startswith("RFC "):
        sections = rfc_sections().get(cited.document)
        return sections is not None and cited.part in {"", *sections}
    return cited.document != NO_DOCUMENT


def in_decisions(cited: Citation) -> bool:
    return any(name.startswith(cited.part) for name in decisions())


def in_files(cited: Citation) -> bool:
    return any(ROOT.glob(cited.part))


def in_links(cited: Citation) -> bool:
    target, _, fragment = cited.part.partition("#")
    page = (ROOT / cited.path).parent / target if target else ROOT / cited.path
    if not fragment:
        return page.exists()
    return page.is_file() and fragment in anchors(page.read_text(encoding="utf-8"))


def in_modules(cited: Citation) -> bool:
    top, *names = cited.part.split(".")
    folder = ROOT / top.removeprefix("mssante_")
    while names:
        module = folder / f"{names[0]}.py"
        if module.exists():
            text = module.read_text(encoding="utf-8")
            return all(re.search(rf"\b{name}\b", text) for name in names[1:])
        if not (folder / names[0]).is_dir():
            return (top in TABLES and names[0] in settings()) or is_an_event(cited.part)
        folder /= names.pop(0)
    return True


# What to look for, whether it is there, and how many there are at the least.
Found = Callable[[str, str], Iterator[Citation]]
KINDS: dict[str, tuple[Found, Callable[[Citation], bool], int]] = {
    "sections": (sections_cited, in_sections, 500),
    "decisions": (decisions_cited, in_decisions, 50),
    "files": (of_files, in_files, 50),
    "links": (of_links, in_links, 50),
    "modules": (of_modules, in_modules, 10),
}


@cache
def all_cited(find: Found) -> list[Citation]:
    return [cited for path, text in texts().items() for cited in find(path, text)]


def shown(citations: Iterable[Citation]) -> list[str]:
    return sorted(map(str, citations))


@pytest.mark.parametrize("kind", KINDS)
def test_all_that_is_cited_is_there(kind: str) -> None:
    find, is_there, least = KINDS[kind]
    found = all_cited(find)
    assert len(found) >= least, f"{len(found)} {kind} seen in {len(texts())} files"
    assert shown(cited for cited in found if not is_there(cited)) == []


def test_each_book_is_cited() -> None:
    books = Counter(cited.document.split()[0] for cited in all_cited(sections_cited))
    assert books["DOMAIN"] > 200, books
    assert books["RFC"] > 200, books


def test_no_book_is_cited_that_is_not_in_the_repository() -> None:
    assert len(texts()) > 300
    assert shown(all_cited(foreign)) == []


def test_the_rules_are_complete() -> None:
    wanted = {f"9.{number}" for number in range(1, 64)}
    wanted |= {f"{number}" for number in range(12)} | {f"U{number}" for number in range(9)}
    wanted |= {f"U7, {number}" for number in range(1, 21)} | {f"3.2, {n}" for n in range(1, 12)}
    assert wanted - rules() == set()


def test_the_rules_cite_each_other_rightly() -> None:
    cited = set(re.findall(r"\bU\d(?:\.\d)?\b", texts()[DOMAIN_PAGE]))
    assert len(cited) > 10
    assert cited - rules() == set()


def test_every_requirement_said_to_be_kept_is_cited_by_a_test() -> None:
    kept = set(re.findall(r"^\| (9\.\d+) \|.*\| yes[^|]*\|$", texts()[DOMAIN_PAGE], re.MULTILINE))
    assert len(kept) > 30
    spans = re.compile(r"§9\.(\d+)(?:\s*(?:[-–]|to)\s*§?(?:9\.)?(\d+))?")
    cited = {
        f"9.{number}"
        for path, text in texts().items()
        if path.startswith("tests/")
        for first, last in spans.findall(text)
        for number in range(int(first), int(last or first) + 1)
    }
    assert kept - cited == set()


def test_the_glossary_is_alphabetical() -> None:
    terms = re.findall(r"^\| \*\*(.+?)\*\*", texts()["docs/glossary.md"], re.MULTILINE)
    assert len(terms) > 60
    assert terms == sorted(terms, key=lambda term: term.casefold().replace("é", "e"))
    assert len(set(terms)) == len(terms)


INVENTED = {
    "DOMAIN §9.64": "sections",
    "DOMAIN §2.3, §9.8, §9.99": "sections",
    "DOMAIN §9.14-§9.77": "sections",
    "# DOMAIN\n    # §12.1": "sections",
    "DOMAIN U1.9": "sections",
    "DOMAIN U7, 21": "sections",
    "DOMAIN §3.2 step 12": "sections",
    "RFC 5321 §4.5.3.1.11": "sections",
    "RFC 5321 section 2.3.12": "sections",
    "RFC 5321 §4.1, Appendix G": "sections",
    "RFC 5321 §4.5.2, §4.9": "sections",
    "# RFC\n    # 3461 §5.2.9": "sections",
    "RFC 31337": "sections",
    "RFC 1870, 9999 and 6531": "sections",
    "§2.2 of no document": "sections",
    "docs/decisions/9999": "decisions",
    "docs/decisions/0001-folders.md": "decisions",
    "decisions 3 and 9999": "decisions",
    "see\n# decision\n# 998": "decisions",
    "tests/relay/test_no_such.py": "files",
    "`relay/{opening,shutting}.py`": "files",
    "docs/no-such-page.md": "files",
    "tests/relay/test_nothing*.py": "files",
    "../relay/no_such.py": "files",
    "[page](no-such-page.md)": "links",
    "[page](docs/domain.md#no-such-heading)": "links",
    "[decision 2](docs/decisions/0001-folders-and-import-names.md)": "links",
    "`relay.no_such_module`": "modules",
    "`relay.smtp.errors.NoSuchName`": "modules",
    "`mssante_operator.no_such_module`": "modules",
}


@pytest.mark.parametrize("text", INVENTED)
def test_what_is_invented_is_found(text: str) -> None:
    find, is_there, _ = KINDS[INVENTED[text]]
    found = list(find("README.md", text))
    assert found
    assert not all(map(is_there, found))


FOREIGN = ["DESIGN §2.4", "(ANCHORS\n# §3.2)", "CLIENTS §3", "LAYOUT.md", "DOMAIN.md", "issue 9"]


@pytest.mark.parametrize("text", FOREIGN)
def test_a_book_that_is_not_here_is_found(text: str) -> None:
    assert list(foreign("x.py", text))
    assert not list(foreign("x.py", "CLIENTS = 3  # DOMAIN §2.3, CPython issue 114914"))


REAL = {
    "DOMAIN §3.2 step 8, §9.18": {"DOMAIN 3.2, 8", "DOMAIN 9.18"},
    "DOMAIN U1.3, U6: lists": {"DOMAIN U1.3", "DOMAIN U6"},
    "DOMAIN U7 10: bulk": {"DOMAIN U7, 10"},
    "DOMAIN §7.4, 25 MB": {"DOMAIN 7.4"},
    "DOMAIN §9.14-9.17, §9.13": {"DOMAIN 9.14", "DOMAIN 9.17", "DOMAIN 9.13"},
    "RFC 2920, RFC 3030 §2": {"RFC 2920", "RFC 3030", "RFC 3030 2"},
    "RFC 1870, 6152 and 6531": {"RFC 1870", "RFC 6152", "RFC 6531"},
    "# (RFC\n# 5321 §4.5.1), as §4.5.2": {"RFC 5321", "RFC 5321 4.5.1", "RFC 5321 4.5.2"},
    "§2.2 of no document": {f"{NO_DOCUMENT} 2.2"},
}


@pytest.mark.parametrize("text", REAL)
def test_citations_are_read_in_each_form(text: str) -> None:
    found = sections_cited("x.py", text)
    assert {f"{cited.document} {cited.part}".rstrip() for cited in found} == REAL[text]
