"""Source file, archive and refresher of a white list, without configuration."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from tests.support.lists.hierarchy import NOW, SIGNER, crls, listed, signed_list, trust
from whitelist.national.archive import Archive
from whitelist.national.signer import ExpectedSigner
from whitelist.pki.crl import RevocationPolicy
from whitelist.refresh.list_refresh import ListRefresher, ListSources


def white_list(*domains: str, at: datetime = NOW - timedelta(hours=1)) -> bytes:
    """Signed list of these domains."""
    return signed_list([listed(one, f"CN=smtp.{one},O=A,C=FR") for one in domains], at)


@dataclass
class ListSite:
    """Folder with a source file and an archive; `pauses`: pauses of its refreshers, in seconds."""

    folder: Path
    now: datetime = NOW
    pauses: list[float] = field(default_factory=list)

    @property
    def file(self) -> Path:
        """Source file of its refreshers."""
        return self.folder / "list.xml"

    def put(self, octets: bytes) -> None:
        """Replace the source file at once: a refresher at work never sees half of it."""
        written = self.file.with_suffix(".new")
        written.write_bytes(octets)
        written.replace(self.file)

    def refresher(self, url: str = "", *, file: bool = True) -> ListRefresher:
        """Refresher with the clock of this site, without real pauses."""
        sources = ListSources(
            url=url,
            file=self.file if file else None,
            file_text="list.xml" if file else "",
            fetch_timeout=5,
            expected_signer=ExpectedSigner(SIGNER),
            loose_department=False,
            max_shrink=0.2,
        )
        return ListRefresher(
            sources,
            Archive(self.folder / "archive"),
            replace(trust(), crls=crls(), revocation=RevocationPolicy.REFUSE),
            lambda: self.now,
            sleep=self.pauses.append,
            randomness=lambda: 0.5,
        )
