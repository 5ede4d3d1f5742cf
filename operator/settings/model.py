"""Configuration: one TOML file, read once into a frozen model.

Unknown keys are refused.  Every error names file, key and remedy.  Relative paths start from the
file's folder.  The descriptions in `sections` are the documentation: `mssante config reference`
prints them, and config/mssante.example.toml is the same text.
"""

import pwd
import shlex
import stat
import tomllib
from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError

from ..errors import OperatorError
from .audit import AuditSection
from .base import Section
from .credentials import AccountsSection, CredentialsSection
from .error_wording import explain
from .identifiers import IdentifiersSection
from .outbound import OutboundSection
from .rights import InactivitySection, RightsSection
from .sections import (
    AdminSection,
    InboundSection,
    LogSection,
    OperatorSection,
    ProcessSection,
    ScanSection,
    TlsSection,
    TraceSection,
    WhiteListSection,
)
from .sending import SendingSection
from .storage import StorageSection
from .trust import TrustSection

DEFAULT_FILES: Final = (Path("mssante.toml"), Path("/etc/mssante/mssante.toml"))


class SettingsError(OperatorError):
    """Unusable configuration; the message names file, key and remedy."""


class Settings(Section):
    """The whole file.  `origin`: its path, which is not a key."""

    operator: OperatorSection
    storage: StorageSection
    tls: TlsSection
    trust: TrustSection
    whitelist: WhiteListSection
    inbound: InboundSection = Field(default_factory=InboundSection)
    outbound: OutboundSection = Field(default_factory=OutboundSection)
    sending: SendingSection = Field(default_factory=SendingSection)
    admin: AdminSection = Field(default_factory=AdminSection)
    process: ProcessSection = Field(default_factory=ProcessSection)
    scan: ScanSection = Field(default_factory=ScanSection)
    trace: TraceSection = Field(default_factory=TraceSection)
    audit: AuditSection = Field(default_factory=AuditSection)
    log: LogSection = Field(default_factory=LogSection)
    identifiers: IdentifiersSection = Field(default_factory=IdentifiersSection)
    rights: RightsSection = Field(default_factory=RightsSection)
    inactivity: InactivitySection = Field(default_factory=InactivitySection)
    accounts: AccountsSection = Field(default_factory=AccountsSection)
    credentials: CredentialsSection = Field(default_factory=CredentialsSection)
    origin: Path = Field(exclude=True)

    def path(self, text: str) -> Path:
        """Path from the configuration; a relative path starts from the file's folder."""
        return self.origin.parent / text

    @property
    def database_url(self) -> str | Path:
        """URL of the database; by default the path of the SQLite file."""
        return self.storage.database or self.path(self.storage.directory) / "mssante.db"


def find(given: Path | None) -> Path:
    """Find the configuration file: `given`, else the first of DEFAULT_FILES that exists.

    Raises SettingsError if there is none.
    """
    for candidate in (given,) if given is not None else DEFAULT_FILES:
        try:
            found = stat.S_ISREG(candidate.stat().st_mode)
            if given is not None and candidate.is_dir():
                file = candidate / "mssante.toml"
                raise SettingsError(f"{candidate}: folder, not a file; run with: --config {file}")
        except (FileNotFoundError, NotADirectoryError):
            found = False
        except OSError as error:
            raise SettingsError(_unreadable(candidate, error)) from error
        if found:
            return _utf8(candidate.absolute())
    wanted = str(given) if given is not None else " or ".join(map(str, DEFAULT_FILES))
    raise SettingsError(f"{wanted}: no such file; add --config FILE, or run: mssante init DIR")


def load(given: Path | None) -> Settings:
    """Read the configuration.  Raises SettingsError."""
    path = find(given)
    try:
        octets = path.read_bytes()
    except OSError as error:
        raise SettingsError(_unreadable(path, error)) from error
    try:
        # Windows editors put a byte order mark in front of UTF-8.
        document = tomllib.loads(octets.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise SettingsError(
            f"{path}: cannot be read: line {line} is not UTF-8; save it as UTF-8, or run: "
            f"iconv -f windows-1252 -t utf-8 -o new.toml {shlex.quote(str(path))}"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not valid TOML: {error}") from error
    if "origin" in document:
        raise SettingsError(f"{path}: origin: unknown key; remove it")
    try:
        return Settings.model_validate({**document, "origin": path})
    except ValidationError as error:
        raise SettingsError(f"{path}: {explain(Settings, error.errors())}") from None


def _utf8(path: Path) -> Path:
    """Return the path unchanged.  Raises SettingsError if its name is not UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise SettingsError(
            f"{str(path)!a}: path name not in UTF-8; rename the file or folder, for example "
            "without accents"
        ) from None
    return path


def _unreadable(path: Path, error: OSError) -> str:
    if not isinstance(error, PermissionError):
        return f"{path}: cannot be read: {error.strerror}"
    return f"{path}: cannot be read: {error.strerror}; run the command as {owner_of(path)}"


def owner_of(path: Path) -> str:
    """Owner of a path for a message; if it is not visible, owner of the first visible parent."""
    for one in (path, *path.absolute().parents):
        try:
            return f"the user {user_name(one.stat().st_uid)}"
        except OSError:
            continue
    return "its owner"


def user_name(uid: int) -> str:
    """Name of a user, or `#UID`, as `sudo -u` accepts it."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"
