"""TLS settings of a daemon, and handshakes that try them."""

import json
import smtplib
import ssl

from mssante_operator.settings.model import load
from tests.support.machines.daemon import Daemon, federation


def configure(daemon: Daemon, section: str, **keys: object) -> None:
    """Set keys of a section that the configuration has already."""
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
    text = daemon.config.read_text()
    assert f"[{section}]\n" in text
    daemon.config.write_text(text.replace(f"[{section}]\n", f"[{section}]\n{lines}"))
    load(daemon.config)


def handshake(daemon: Daemon, *, group: str = "", suites: str = "") -> str:
    """Begin TLS 1.2 with one group or certain suites; the suite agreed on, "" if there was none."""
    root = federation().space.hierarchy.root.certificate_pem
    context = ssl.create_default_context(cadata=root.decode("ascii"))
    context.check_hostname = False
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(*daemon.identity("b"))
    if group:
        context.set_ecdh_curve(group)
    if suites:
        context.set_ciphers(suites)
    with smtplib.SMTP("127.0.0.1", daemon.port, timeout=20) as smtp:
        try:
            smtp.starttls(context=context)
        except ssl.SSLError:
            smtp.close()
            return ""
        assert isinstance(smtp.sock, ssl.SSLSocket)
        return (smtp.sock.cipher() or ("",))[0]
