"""Files of the journal, read."""

import json
from pathlib import Path
from typing import Any


def events(path: Path) -> list[dict[str, Any]]:
    """Every event of a file, all of its lines being whole."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]
