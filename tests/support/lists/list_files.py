"""Signed lists of the federation, put in place under an operator; the alarms that follow."""

from datetime import timedelta

from mssante_operator.setup.install import TrustSpace
from mssante_operator.setup.testbed.credential import Credential
from tests.support.machines.daemon import Daemon, federation, get


def signed(hours: float = 0, **domains: str) -> bytes:
    """A list of the federation, `hours` from now; `b="c"` gives b.mssante.fr to operator c."""
    space = federation().space
    later = TrustSpace(space.hierarchy, space.signer, space.now + timedelta(hours=hours))
    owners: dict[str, Credential] = {
        f"{name}.mssante.fr": federation().operators[owner] for name, owner in domains.items()
    }
    return later.sign_list(owners)


FULL = {"a": "a", "b": "b", "c": "c"}


def put(daemon: Daemon, data: bytes) -> None:
    """Move a list into place, as a site that pushes it does."""
    path = daemon.folder / "whitelist" / "listeblanchemssante.xml"
    draft = path.with_suffix(".tmp")
    draft.write_bytes(data)
    draft.replace(path)


def alarms(daemon: Daemon) -> set[str]:
    """The names of the alarms that stand, by the metric."""
    lines = get(daemon, "/metrics")[1].splitlines()
    standing = [
        line for line in lines if line.startswith("mssante_alarm{") and line.endswith(" 1.0")
    ]
    return {line.split('"')[1] for line in standing}
