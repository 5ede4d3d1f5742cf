"""A small good configuration file, and the error text of a bad file."""

from pathlib import Path

import pytest

from mssante_operator.settings.model import SettingsError, load

GOOD = """\
[operator]
hostname = "smtp.a.mssante.fr"
[storage]
directory = "data"
[tls]
certificate = "pki/server.pem"
key = "pki/server.key"
[trust]
anchors = ["pki/root.pem"]
[whitelist]
file = "list.xml"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mssante.toml"
    path.write_text(text)
    return path


def refusal(folder: Path, text: str) -> str:
    """The message for a bad file, without the file's name, which must come first."""
    path = write(folder, text)
    with pytest.raises(SettingsError) as refused:
        load(path)
    message = str(refused.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


TRUST = 'anchors = ["pki/root.pem"]\n'
