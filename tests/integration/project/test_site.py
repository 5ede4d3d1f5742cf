"""The site of docs/: built without a warning, with every page, and nothing in it is fetched."""

import io
import re
from pathlib import Path

import pytest

from tools.site import ROOT, build

pytestmark = pytest.mark.filterwarnings("ignore:'myst_parser")  # it is behind Sphinx's newest names

# A value that makes the browser load something; links that a reader may follow are not.
_LOADED = re.compile(
    r"""<(?:script|img|iframe)\b[^>]*\bsrc="([^"]+)|<link\b[^>]*\bhref="([^"]+)|url\(["']?([^"')]+)"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "site"
    said = io.StringIO()
    assert build(folder, ROOT, said), said.getvalue()
    return folder


def test_each_page_of_docs_is_in_it(site: Path) -> None:
    pages = [path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md")]
    assert len(pages) > 50
    assert [page for page in pages if not (site / page.with_suffix(".html")).exists()] == []
    assert 'url=docs/index.html"' in (site / "index.html").read_text(encoding="utf-8")


def test_nothing_is_loaded_from_a_network(site: Path) -> None:
    files = [path for path in site.rglob("*") if path.suffix in {".html", ".css"}]
    loaded = {
        next(filter(None, found.groups()))
        for path in files
        for found in _LOADED.finditer(path.read_text(encoding="utf-8"))
    }
    assert len(loaded) > 5
    assert {one for one in loaded if "//" in one} == set()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[gone](gone.md)", "gone.md"),
        ("[b](b.md) [gone](b.md#no-such-heading)", "no-such-heading"),
        ("", "b.md: WARNING"),
    ],
    ids=["no page", "no heading", "listed nowhere"],
)
def test_a_fault_of_a_page_fails_the_build(tmp_path: Path, text: str, complaint: str) -> None:
    docs = tmp_path / "root" / "docs"
    docs.mkdir(parents=True)
    (docs / "index.md").write_text(f"# Index\n\n{text}\n")
    (docs / "b.md").write_text("# B\n")
    said = io.StringIO()
    assert not build(tmp_path / "site", docs.parent, said)
    assert complaint in said.getvalue()
