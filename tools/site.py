"""Builds docs/ into a site that can be read from disk: `python -m tools.site FOLDER`.

Exit code 1 after any warning: a dead link, a page that no index lists.
"""

import re
import sys
from pathlib import Path
from typing import TextIO

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent
INDEX = "docs/index"

# A page of links is the parent of these pages in the navigation; it stays plain Markdown.
_INDEXES = (INDEX, "docs/decisions/README")
_LINK = re.compile(r"\]\(([\w./-]+)\.md\)")
_LINK_TO_FOLDER = re.compile(r"\]\(([\w./-]+)/\)")

_SETTINGS = {
    "project": "mssante",
    "extensions": ["myst_parser"],
    "root_doc": INDEX,
    # Root of the checkout, so that links work as in the repository.
    "include_patterns": ["*.md", "docs/**"],
    "exclude_patterns": [".*", "run", "build", "dist"],
    "myst_heading_anchors": 4,
    # Affects colours only: a psql command in a block of SQL.
    "suppress_warnings": ["misc.highlighting_failure"],
    "html_title": "mssante",
    "html_theme": "alabaster",
    "html_theme_options": {
        "fixed_sidebar": True,
        "page_width": "1200px",
        "show_powered_by": False,
    },
    "html_copy_source": False,
    "html_show_copyright": False,
}

_TO_INDEX = f'<!doctype html>\n<meta http-equiv="refresh" content="0; url={INDEX}.html">\n'


def _prepare(_app: Sphinx, name: str, source: list[str]) -> None:
    """Point links to folders at their README, and make the pages of an index its children."""
    source[0] = _LINK_TO_FOLDER.sub(r"](\1/README.md)", source[0])
    if name in _INDEXES:
        pages = "\n".join(dict.fromkeys(_LINK.findall(source[0])))
        source[0] += f"\n```{{toctree}}\n:hidden:\n\n{pages}\n```\n"


def build(folder: Path, root: Path = ROOT, said: TextIO = sys.stderr) -> bool:
    """Build the site of the pages below `root` into `folder`; `said` gets the warnings.

    Returns True without any warning.
    """
    app = Sphinx(
        root,
        None,
        folder,
        folder.parent / f"{folder.name}-cache",
        "html",
        confoverrides=_SETTINGS,
        status=None,
        warning=said,
        warningiserror=True,
    )
    app.connect("source-read", _prepare)
    app.build()
    (folder / "index.html").write_text(_TO_INDEX, encoding="utf-8")
    return app.statuscode == 0


if __name__ == "__main__":
    sys.exit(0 if build(Path(sys.argv[1]).absolute()) else 1)
