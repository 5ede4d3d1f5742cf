"""The configuration: one TOML file, read once into a frozen model.

Unknown keys are refused, every error names file, key and fix, relative paths start from the file's
own folder.  The descriptions in `sections` are the documentation: `mssante config reference` prints
them, and config/mssante.example.toml is that very text.
"""

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any, Final

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from .errors import OperatorError
from .section import Section
from .sections import (
    Admin,
    Inbound,
    Log,
    Operator,
    Outbound,
    Process,
    Scan,
    Tls,
    Trace,
    Trust,
    WhiteListSection,
)
from .storage_section import Storage

_PASSWORD = re.compile("://[^/]*@")  # in a URL

DEFAULT_FILES: Final = (Path("mssante.toml"), Path("/etc/mssante/mssante.toml"))


class SettingsError(OperatorError):
    """A configuration that cannot be used; the message names file, key and fix."""


class Settings(Section):
    """The whole file.  `origin` is its path; it is not a key."""

    operator: Operator
    storage: Storage
    tls: Tls
    trust: Trust
    whitelist: WhiteListSection
    inbound: Inbound = Field(default_factory=Inbound)
    outbound: Outbound = Field(default_factory=Outbound)
    admin: Admin = Field(default_factory=Admin)
    process: Process = Field(default_factory=Process)
    scan: Scan = Field(default_factory=Scan)
    trace: Trace = Field(default_factory=Trace)
    log: Log = Field(default_factory=Log)
    origin: Path = Field(exclude=True)

    def path(self, text: str) -> Path:
        """A path of the file, taken from the file's folder if relative."""
        return self.origin.parent / text

    @property
    def database_url(self) -> str | Path:
        """The database's URL, or by default the path of SQLite's file."""
        return self.storage.database or self.path(self.storage.directory) / "mssante.db"


def find(given: Path | None) -> Path:
    """The configuration file to use.  Raises SettingsError if there is none."""
    for candidate in (given,) if given is not None else DEFAULT_FILES:
        if candidate.is_file():
            return candidate.absolute()
    wanted = str(given) if given is not None else " or ".join(map(str, DEFAULT_FILES))
    raise SettingsError(f"{wanted}: no such file; give --config FILE or run: mssante init DIR")


def load(given: Path | None) -> Settings:
    """Read the configuration.  Raises SettingsError."""
    path = find(given)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not valid TOML: {error}") from error
    if "origin" in document:
        raise SettingsError(f"{path}: origin: unknown key; remove it")
    try:
        return Settings.model_validate({**document, "origin": path})
    except ValidationError as error:
        raise SettingsError(f"{path}: {_explain(error.errors()[0])}") from None


def _explain(problem: ErrorDetails) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    match problem["type"]:
        case "extra_forbidden":
            near = difflib.get_close_matches(
                str(problem["loc"][-1]), _keys(problem["loc"][:-1]), n=1
            )
            return f"{key}: unknown key; " + (f"did you mean {near[0]}?" if near else "remove it")
        case "missing":
            return f"{key}: missing; add it (mssante config reference shows every key)"
        case _:
            found = repr(problem["input"])
            shown = "it is not shown" if _PASSWORD.search(found) else f"found {found}"
            return f"{key}: {problem['msg']}; {shown}"


def _keys(location: tuple[int | str, ...]) -> list[str]:
    model: Any = Settings
    for part in location:
        model = model.model_fields[part].annotation
    return [name for name in model.model_fields if name != "origin"]
