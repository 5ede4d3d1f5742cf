"""Settings and options of a new process arrive exactly as the supervisor checked them."""

from pathlib import Path

from mssante_operator.daemon.start_args import StartArgs, pack, parse_names, unpack
from mssante_operator.settings.model import load

CONFIG = """
[operator]
hostname = "smtp.a.mssante.fr"
[storage]
directory = "données"
[tls]
certificate = "a.pem"
key = "a.key"
groups = ["X25519", "secp384r1"]
[trust]
anchors = ["root.pem"]
revocation = "accept"
[whitelist]
file = "list.xml"
refresh_seconds = 5
[inbound]
listen = ["127.0.0.1:0", "[::1]:2525"]
header_from = "refuse"
[outbound.routes]
"b.mssante.fr" = "127.0.0.1:2526"
[scan]
on_failure = "accept"
"""
PEERS = parse_names(["CN=smtp.b.mssante.fr,O=HÔPITAL B,C=FR", "CN=smtp.c.mssante.fr,C=FR"])


def test_settings_and_peers_survive_the_line_to_a_process(tmp_path: Path) -> None:
    path = tmp_path / "mssante.toml"
    path.write_text(CONFIG, encoding="utf-8")
    settings = load(path)
    line = pack(settings, StartArgs((3, 4), PEERS))
    assert b"\n" not in line
    # Descriptors have other numbers in the other process.
    told, launch = unpack(line, (7, 8))
    assert told == settings
    assert told.origin == path
    assert launch == StartArgs((7, 8), PEERS)
