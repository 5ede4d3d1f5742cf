"""What a process is told at its start: the settings arrive as the supervisor checked them."""

from pathlib import Path

from mssante_operator.launch import pack, unpack
from mssante_operator.settings import load

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


def test_settings_survive_the_line_to_a_process(tmp_path: Path) -> None:
    path = tmp_path / "mssante.toml"
    path.write_text(CONFIG, encoding="utf-8")
    settings = load(path)
    line = pack(settings)
    assert b"\n" not in line
    assert unpack(line) == settings
    assert unpack(line).origin == path
