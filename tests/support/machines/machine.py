"""Small machine for a mail server: its own /etc, /var and /run, with the system's programs.

A mail server needs fixed folders and users, and a Debian system can have only one mail server.
Here each server has its own namespaces: nothing of the system is changed, and all its processes
end with it.  Only the network is shared, so that server and daemon meet on loopback.  Needs root.
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
from tests.support.machines.federation import federation
from tests.support.rules import needs
from tests.support.waiting import until_now

PEERS = Path(__file__).parents[3] / ".venv" / "peers"
_UNSHARE = ("unshare", "--mount", "--pid", "--fork", "--kill-child")

# $1: folder of the machine; $2: package of the server; the rest: command line of the server.
# /proc is still the system's, so it shows the pid that this process has outside.
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
    """Reason why a server cannot run here; empty if it can.  `program`: path in the package."""
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
    """Machine.  `root`: folder used as /; `package`: folder mounted as /opt."""

    root: Path
    package: Path

    def write(self, path: str, text: str | bytes, owner: int = 0, mode: int = 0o644) -> None:
        """Write a file at an absolute path of the machine."""
        target = self.root / path.removeprefix("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text.encode() if isinstance(text, str) else text)
        os.chown(target, owner, owner)
        target.chmod(mode)

    def mkdir(self, path: str, owner: int = 0, mode: int = 0o755) -> None:
        """Create a folder at an absolute path of the machine."""
        target = self.root / path.removeprefix("/")
        target.mkdir(parents=True, exist_ok=True)
        os.chown(target, owner, owner)
        target.chmod(mode)

    def credentials(self, name: str, owner: int = 0) -> None:
        """Install in /etc/pki the certificate of a federation's operator, and its authorities."""
        ours = federation().space.hierarchy
        self.identity(federation().operators[name], ours, ours, owner)

    def identity(
        self, shown: Credential, issuer: Hierarchy, trusted: Hierarchy, owner: int
    ) -> None:
        """Install a certificate, and the trusted authorities, in /etc/pki."""
        folder = self.root / "etc" / "pki"
        folder.mkdir(parents=True)
        write_identity(shown, issuer, folder, "shown")
        authorities = trusted.root.certificate_pem + trusted.intermediate.certificate_pem
        (folder / "authorities.pem").write_bytes(authorities)
        for path in folder.iterdir():
            os.chown(path, owner, owner)

    def log(self) -> str:
        """Output of the server on its standard streams."""
        return (self.root / "console").read_text(errors="replace")

    @contextmanager
    def running(self, *words: str, port: int) -> Iterator[None]:
        """Run the server in the foreground; wait until it listens on a port of loopback."""
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
                # First process of the namespace: all others end before it.
                os.kill(int((self.root / "number").read_text()), signal.SIGKILL)
                server.wait(30)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def machine(package: str, users: Mapping[str, int]) -> Iterator[Machine]:
    """Machine with a package of .venv/peers, and users with these names and numbers."""
    # Not pytest's folder: the server's users have no access to its parent folders.
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
