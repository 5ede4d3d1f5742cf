"""Machines of operator A, each with its own archive, on one database, without daemons."""

from dataclasses import dataclass
from pathlib import Path

from mailstore.db.database import Database
from mssante_operator.assembly.clock import utc_now
from mssante_operator.assembly.trust import (
    open_crl_refresher,
    open_list_refresher,
    open_trust,
    open_trust_state,
)
from mssante_operator.settings.model import load
from relay.machines.list_sharing import ListSharing
from relay.policy.trust_state import TrustState
from tests.support.lists.list_files import put
from tests.support.machines.daemon import Daemon, lay_out
from whitelist.national.archive import Archive, ArchiveRecord
from whitelist.refresh.list_refresh import ListRefresher


@dataclass(frozen=True)
class Machine:
    """One machine: its files, its source of lists, its `ListSharing`."""

    daemon: Daemon
    refresher: ListRefresher
    sharing: ListSharing

    @property
    def archive(self) -> Archive:
        return self.refresher.archive

    @property
    def active(self) -> ArchiveRecord:
        """Version of the list in force."""
        found = self.archive.active()
        assert found is not None
        return found

    def adopt(self, data: bytes, *, accept_shrink: bool = False) -> None:
        """Put a list into this machine's source, and check the source."""
        put(self.daemon, data)
        self.refresher.check(accept_shrink=accept_shrink)

    def trust_state(self) -> TrustState:
        """Snapshot that the processes of this machine use."""
        return open_trust_state(load(self.daemon.config), self.refresher.trust)


def machine(folder: Path, database: Database, white_list: bytes | None = None) -> Machine:
    """Install a machine in a folder, with the federation's list or `white_list`; b"": none."""
    daemon = lay_out(folder, "a", white_list=white_list or None)
    if white_list == b"":
        for path in (folder / "data" / "whitelist").iterdir():
            path.unlink()
    refresher = refresher_of(daemon)
    return Machine(daemon, refresher, ListSharing(database, refresher))


def refresher_of(daemon: Daemon) -> ListRefresher:
    """Refresher of a machine's source, in this process."""
    settings = load(daemon.config)
    trust = open_trust(settings)
    crls = open_crl_refresher(settings, trust)
    crls.check(utc_now())
    return open_list_refresher(settings, trust.with_crls(crls.store.current()))
