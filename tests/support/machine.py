"""A small machine for one mail server: /etc, /var and /run of its own, the system's programs.

A mail server wants fixed folders and users of its own, and a Debian system holds but one.  Each
gets them here in namespaces of its own: nothing of the system is changed, and whatever the server
starts ends with it.  Only the network is shared, so that it and our daemon meet on loopback.
Needs root.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mssante_operator.setup.install import write_identity
from mssante_operator.setup.testbed.ca import Hierarchy
from mssante_operator.setup.testbed.credential import Credential
from tests.support import needs
from tests.support.federation import federation
from tests.support.waiting import until_now

PEERS = Path(__file__).parents[2] / ".venv" / "peers"
_UNSHARE = ("unshare", "--mount", "--pid", "--fork", "--kill-child")

# $1 is the machine's folder, $2 the server's package; the rest is the server.  /proc is still the
# system's, so the number that stands there of this process is the one outside.
_BOOT = """\
set -e
root=$1 package=$2
shift 2
read -r number _ </proc/self/stat
echo "$number" >"$root/number"
for name in usr dev proc; do mount --rbind "/$name" "$root/$name"; done
for name in bin sbin lib lib64; do
  if [ -L "/$name" ]; then ln -sf "$(readlink "/$name")" "$root/$name"
  elif [ -d "/$name" ]; then mkdir -p "$root/$name"; mount --rbind "/$name" "$root/$name"; fi
done
mount --bind "$package" "$root/opt"
exec chroot "$root" "$@"
"""


@cache
def missing(package: str, program: str) -> str:
    """Why a server cannot run here, empty if it can; `program` is its path in the package."""
    if not (PEERS / package / program).exists():
        return needs.program(program, package, "tools/install-mta.sh .venv/peers")
    if shutil.which("unshare") is None:
        return needs.program("unshare", "util-linux")
    if os.geteuid() != 0:
        return needs.root("a machine in namespaces of its own")
    probe = subprocess.run([*_UNSHARE, "true"], stderr=subprocess.DEVNULL, check=False)
    return "" if probe.returncode == 0 else "namespaces cannot be made here, even by root"


@dataclass(frozen=True)
class Machine:
    """`root` is its / and `package` what is mounted as its /opt."""

    root: Path
    package: Path

    def write(self, path: str, text: str | bytes, owner: int = 0, mode: int = 0o644) -> None:
        """Put a file at an absolute path of the machine."""
        target = self.root / path.removeprefix("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text.encode() if isinstance(text, str) else text)
        os.chown(target, owner, owner)
        target.chmod(mode)

    def mkdir(self, path: str, owner: int = 0, mode: int = 0o755) -> None:
        """Make a folder at an absolute path of the machine."""
        target = self.root / path.removeprefix("/")
        target.mkdir(parents=True, exist_ok=True)
        os.chown(target, owner, owner)
        target.chmod(mode)

    def credentials(self, name: str, owner: int = 0) -> None:
        """The certificate of an operator of the federation in /etc/pki, and whom it trusts."""
        ours = federation().space.hierarchy
        self.identity(federation().operators[name], ours, ours, owner)

    def identity(
        self, shown: Credential, issuer: Hierarchy, trusted: Hierarchy, owner: int
    ) -> None:
        """A certificate in /etc/pki, and the authorities that it trusts."""
        folder = self.root / "etc" / "pki"
        folder.mkdir(parents=True)
        write_identity(shown, issuer, folder, "shown")
        authorities = trusted.root.certificate_pem + trusted.intermediate.certificate_pem
        (folder / "authorities.pem").write_bytes(authorities)
        for path in folder.iterdir():
            os.chown(path, owner, owner)

    def log(self) -> str:
        """All that the server has said on its standard streams."""
        return (self.root / "console").read_text(errors="replace")

    @contextmanager
    def running(self, *words: str, port: int) -> Iterator[None]:
        """Run the server, a program in the foreground, once it listens on a port of loopback."""
        libraries = sorted({path.parent for path in self.package.rglob("*.so.*")})
        inside = ":".join(f"/opt/{path.relative_to(self.package)}" for path in libraries)
        with (self.root / "console").open("wb") as console:
            server = subprocess.Popen(
                [*_UNSHARE, "sh", "-c", _BOOT, "boot", self.root, self.package, *words],
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LD_LIBRARY_PATH": inside},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        try:
            until_now(lambda: _listens(port) or server.poll() is not None)
            assert server.poll() is None, self.log()
            yield
        finally:
            if server.poll() is None:
                # The first process of a namespace: all the others end before it does.
                os.kill(int((self.root / "number").read_text()), signal.SIGKILL)
                server.wait(30)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def machine(package: str, users: Mapping[str, int]) -> Iterator[Machine]:
    """A machine with a package of .venv/peers, and users of these names and numbers."""
    # Not pytest's folder: the server's users must be able to go through the ones above.
    root = Path(tempfile.mkdtemp(prefix="mssante-machine-"))
    try:
        made = Machine(root, PEERS / package)
        root.chmod(0o755)
        for name in ("usr", "dev", "proc", "opt", "etc", "run", "var", "tmp"):
            made.mkdir(f"/{name}")
        known = {"root": 0, **users, "nobody": 65534}
        accounts = (f"{name}:x:{number}:{number}::/:/bin/false\n" for name, number in known.items())
        made.write("/etc/passwd", "".join(accounts))
        made.write("/etc/group", "".join(f"{name}:x:{known[name]}:\n" for name in known))
        made.write("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")
        made.write("/etc/hosts", "127.0.0.1 localhost smtp.a.mssante.fr\n")
        yield made
    finally:
        shutil.rmtree(root)
