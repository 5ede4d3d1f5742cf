"""Data folder as left by version 0.1.0, for the tests of upgrades.

The code of that version comes from the history of this checkout and runs with the present
libraries, in separate processes. `tools/past_content.py` makes the content, and `expected.json`:
all data that an upgrade must keep.
"""

import argparse
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

VERSION: Final = "0.1.0"
COMMIT: Final = "daa9bb3c420c55e98fa4785d1f82ceeaf24c1780"
ROOT: Final = Path(__file__).resolve().parent.parent

# Names under which setuptools installs the folders (pyproject.toml, decision 1).
_INSTALLED_AS: Final = {
    "operator": "mssante_operator",
    "alembic": "mssante_operator/migrations",
    "config": "mssante_operator/config",
    "relay": "relay",
    "mailstore": "mailstore",
    "whitelist": "whitelist",
}


class PastVersionError(Exception):
    """The code of the past version is missing, or failed."""


def unpack(folder: Path, commit: str = COMMIT) -> None:
    """Write the packages of a commit to `folder`, for PYTHONPATH.

    Raises PastVersionError without git, or if the history lacks the commit.
    """
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), "archive", commit, *_INSTALLED_AS],
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        raise PastVersionError("git is missing; run as root: apt-get install git") from None
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip()
        raise PastVersionError(f"{ROOT} has not the commit of {VERSION}, {commit}: {why}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        for member in archive:
            top, _, rest = member.name.partition("/")
            content = archive.extractfile(member)
            if content is not None:
                path = folder / _INSTALLED_AS[top] / rest
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.read())


def make(folder: Path, database: str = "") -> None:
    """Make in `folder` an operator of version 0.1.0, filled; `database` is a PostgreSQL URL.

    Raises PastVersionError.
    """
    with TemporaryDirectory(prefix="mssante-past-") as code:
        unpack(Path(code))
        program = ROOT / "tools" / "past_content.py"
        # Before all installed packages, whose same names are the present version.
        environment = {**os.environ, "PYTHONPATH": code}
        done = subprocess.run(
            [sys.executable, str(program), str(folder), database],
            env=environment,
            cwd=code,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    if done.returncode:
        raise PastVersionError(f"version {VERSION} failed:\n{done.stdout}{done.stderr}")


def main() -> None:
    """Make the folder named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.past_version", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder to make; must not exist")
    parser.add_argument("--database", default="", help="URL of an empty PostgreSQL database")
    given = parser.parse_args()
    try:
        make(given.folder.absolute(), given.database)
    except PastVersionError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
