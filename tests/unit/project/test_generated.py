"""Generated files are up to date with the code; `make docs` writes them."""

import pytest

from tools.generate import ROOT, pages


@pytest.mark.parametrize("path", sorted(pages()), ids=lambda path: path.name)
def test_generated_files_are_current(path: object) -> None:
    assert path in pages()
    found = next(p for p in pages() if p == path)
    assert found.read_text(encoding="utf-8") == pages()[found], f"run make docs ({ROOT})"
