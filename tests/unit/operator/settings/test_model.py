"""Configuration: every error names file, key and remedy; unknown keys are refused."""

import os
import tomllib
from pathlib import Path

import pytest

from mssante_operator.assembly import policies
from mssante_operator.assembly.clock import utc_now
from mssante_operator.assembly.relay import make_router
from mssante_operator.settings.endpoints import split_endpoint
from mssante_operator.settings.model import Settings, SettingsError, find, load
from mssante_operator.settings.reference import reference
from relay.client.routing import NoRoute, Target
from tests.support.machines.configuration import GOOD, refusal, write
from tests.support.machines.operators import trust_space
from tests.support.machines.perimeters import trust_state


def test_defaults_and_paths(tmp_path: Path) -> None:
    settings = load(write(tmp_path, GOOD))
    assert settings.path("pki/server.pem") == tmp_path / "pki/server.pem"
    assert settings.path("/etc/x") == Path("/etc/x")
    assert settings.database_url == tmp_path / "data" / "mssante.db"
    assert settings.inbound.max_message_bytes == 36_700_160
    assert settings.whitelist.signer == "alb.mssante.fr"


def test_it_is_frozen(tmp_path: Path) -> None:
    settings = load(write(tmp_path, GOOD))
    with pytest.raises(ValueError, match="frozen"):
        settings.inbound.idle_seconds = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("addition", "message"),
    [
        ("[inbound]\nlisten_on = []", "inbound.listen_on: unknown key; did you mean listen?"),
        ("[outbund]\nx = 1", "outbund: unknown key; did you mean outbound?"),
        ("[log]\nzzz = 1", "log.zzz: unknown key; remove it"),
        ("[inbound]\nmax_recipients = 0", "inbound.max_recipients: must be above 0; found 0"),
        (
            '[inbound]\nmax_recipients = "9"',
            "inbound.max_recipients: expected a whole number, without quotes",
        ),
        ('[inbound]\nlisten = ["2525"]', "inbound.listen.0: expected HOST:PORT"),
        ('[inbound]\nlisten = ["::1:25"]', "inbound.listen.0: IPv6 addresses need"),
        ("[inbound]\nlisten = []", "inbound.listen: needs 1 or more entries; found []"),
        ('[inbound]\nheader_from = "maybe"', 'inbound.header_from: expected "refuse", "tag" or'),
        (
            '[outbound.routes]\n"b.mssante.fr" = "x"',
            "outbound.routes.b.mssante.fr: expected HOST:PORT",
        ),
        (
            '[outbound.routes]\n"b.fr" = ["b.fr:25", "x"]',
            "outbound.routes.b.fr: expected HOST:PORT",
        ),
        ('[outbound.routes]\n"b.fr" = []', "outbound.routes.b.fr: expected HOST:PORT"),
        ('[outbound.routes]\n"b.fr" = 25', "outbound.routes.b.fr: expected HOST:PORT"),
        ('[outbound.routes]\n"x@b.fr" = "b.fr:25"', "outbound.routes: 'x@b.fr' is no"),
        ('[outbound.routes]\nb.fr = "b.fr:25"', "outbound.routes.b: expected HOST"),
        (
            '[outbound.routes]\n"b.fr" = "x:1"\n"B.fr" = "x:2"',
            "outbound.routes: 'b.fr' and 'B.fr' are the same; keep one of them",
        ),
        (
            '[outbound.operator_routes]\n"CN=b.fr,C=FR" = "x:1"',
            "outbound.operator_routes: 'CN=b.fr,C=FR' is not a CN; write only its value",
        ),
        (
            '[outbound.operator_routes]\n"b.fr" = "x:1"\n" B.fr" = "x:2"',
            "outbound.operator_routes: 'b.fr' and ' B.fr' are the same",
        ),
        ("[outbound]\ndns_timeout_seconds = 0.0", "outbound.dns_timeout_seconds: must be above 0"),
        ("[outbound]\npatient_max_bytes = 0", "outbound.patient_max_bytes: must be above 0"),
        ('[outbound]\npatient_ins_key = "no"', "outbound.patient_ins_key: expected true or false"),
        ('[log]\nlevel = "loud"', 'log.level: expected "debug", "info"'),
        ('[scan]\nclamav = "clamd"', "scan.clamav: expected HOST:PORT"),
        (
            '[scan]\nrspamd = "127.0.0.1:11333"',
            "scan.rspamd: expected a URL: http://HOST:PORT; found",
        ),
        ('[scan]\non_failure = "ignore"', 'scan.on_failure: expected "defer" or "accept"'),
        ("[trace]\nkeep_days = 0", "trace.keep_days: must be above 0"),
        ("[[[", "not valid TOML: "),
        # An unknown key is reported before a missing key, and before other errors.
        ("[inbound]\nmax_recipients = 0\nmax_mesages = 1", "inbound.max_mesages: unknown key; did"),
        (
            "[outbound]\nmax_recipients = 1",
            "outbound.max_recipients: unknown key; it belongs in [inb",
        ),
        ("[inbound]\nidle_seconds = inf", "inbound.idle_seconds: must be a finite number"),
        ("[inbound]\nidle_seconds = nan", "inbound.idle_seconds: must be a finite number"),
        (
            '[inbound]\nidle_seconds = "9"',
            "inbound.idle_seconds: expected a number, without quotes",
        ),
        (
            "[inbound]\nmax_errors = 1.5",
            "inbound.max_errors: expected a whole number, without quotes",
        ),
        ('[inbound]\nlisten = "a:1"', 'inbound.listen: expected a list: ["…"]; found "a:1"'),
        (
            '[inbound]\nlisten = ["*:25"]',
            "inbound.listen.0: * is not an address; write 0.0.0.0 for all",
        ),
        ("[admin]\nlisten = 9180", 'admin.listen: expected text in quotes: "…"; found 9180'),
        ("[trace]\nkeep_days = 99999", "trace.keep_days: must be 36500 or less; found 99999"),
        ("[process]\nworkers = -1", "process.workers: must be 0 or more; found -1"),
        ("[process]\nworkers = 5000", "process.workers: must be 512 or less; found 5000"),
        ("[process]\nsilent_seconds = 1", "process.silent_seconds: must be 2 or more; found 1"),
        ("[process]\nsilent_seconds = 86401", "process.silent_seconds: must be 86400 or less; "),
        ('[scan]\nrspamd = "http://"', "scan.rspamd: expected a URL: http://HOST:PORT; found"),
    ],
)
def test_errors_name_the_key(tmp_path: Path, addition: str, message: str) -> None:
    assert refusal(tmp_path, f"{GOOD}{addition}\n").startswith(message)


@pytest.mark.parametrize(
    ("addition", "message"),
    [
        ('groups = ["P-256"]', "tls.groups.0: OpenSSL knows no group 'P-256'; known"),
        ("groups = []", "tls.groups: needs 1 or more entries; found []"),
        ('suites = "FAST"', "tls.suites: OpenSSL knows no cipher suite of 'FAST'"),
        ('suites = "AES128-SHA"', "tls.suites: no forward secrecy or no authentica"),
        ('suites = "ADH-AES128-GCM-SHA256"', "tls.suites: no forward secrecy or no"),
    ],
)
def test_what_tls_may_not_be(tmp_path: Path, addition: str, message: str) -> None:
    text = GOOD.replace("[tls]", f"[tls]\n{addition}")
    assert refusal(tmp_path, text).startswith(message)


def test_limits_are_the_keys_of_inbound(tmp_path: Path) -> None:
    text = "[inbound]\nmax_messages = 7\nmin_rate = 0\nmax_header_fields = 9\nmax_received = 3\n"
    settings = load(write(tmp_path, GOOD + text))
    assert (policies.limits(settings).max_messages, policies.limits(settings).min_rate) == (7, 0)
    policy = policies.policy(settings)
    assert (policy.max_header_fields, policy.max_received) == (9, 3)


def test_what_holds_for_patients(tmp_path: Path) -> None:
    # DOMAIN §7.4, §1.5
    assert policies.policy(load(write(tmp_path, GOOD))).patient_ins_key
    text = "[outbound]\npatient_max_bytes = 7\npatient_ins_key = false\n"
    policy = policies.policy(load(write(tmp_path, GOOD + text)))
    assert (policy.patient_max_bytes, policy.patient_ins_key) == (7, False)


ROUTES = """\
[outbound.routes]
"b.mssante.fr" = "127.0.0.1:2526"
[outbound.operator_routes]
"smtp.c.mssante.fr" = ["192.0.2.7:25", "[2001:db8::7]:2525"]
"""


async def test_routes_lead_where_they_say(tmp_path: Path) -> None:
    # Only the white list names the operator of c.mssante.fr.
    space = trust_space()
    settings = load(write(tmp_path, GOOD + ROUTES))
    follower = trust_state(tmp_path, space.white_list, space.trust, utc_now, crls=space.crls)
    router = make_router(settings, follower)
    assert await router.targets("b.mssante.fr") == [Target("127.0.0.1", 2526)]
    assert await router.targets("c.mssante.fr") == [
        Target("192.0.2.7", 25),
        Target("2001:db8::7", 2525),
    ]


async def test_dns_is_asked_as_configured(tmp_path: Path) -> None:
    text = '[outbound]\ndns_servers = ["127.0.0.1"]\ndns_timeout_seconds = 0.1\n'
    settings = load(write(tmp_path, GOOD + text))
    with pytest.raises(NoRoute, match=r"^MX of b\.mssante\.fr could not be found: .*127\.0\.0\.1"):
        await make_router(settings).targets("b.mssante.fr")


def test_a_dns_server_that_is_none(tmp_path: Path) -> None:
    settings = load(write(tmp_path, f'{GOOD}[outbound]\ndns_servers = ["resolver"]\n'))
    with pytest.raises(SettingsError, match=r"outbound\.dns_servers: .*resolver"):
        make_router(settings)


def test_a_missing_key(tmp_path: Path) -> None:
    text = GOOD.replace('hostname = "smtp.a.mssante.fr"', "")
    assert refusal(tmp_path, text).startswith("operator.hostname: missing; add it")


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        # The intended key is missing at the same time.
        ("hostname =", "hostnam =", "operator.hostnam: unknown key; did you mean hostname?"),
        ("[trust]", "[trusts]", "trusts: unknown key; did you mean trust?"),
        (
            'file = "list.xml"',
            'url = "https://"',
            "whitelist.url: expected a URL: https://HOST/PATH",
        ),
        (
            'file = "list.xml"',
            'url = "ftp://x"',
            "whitelist.url: expected a URL: https://HOST/PATH",
        ),
        (
            'file = "list.xml"',
            "",
            "whitelist: no source for the list; set url or file",
        ),
        ('"smtp.a.mssante.fr"', '"hôpital.fr"', "operator.hostname: expected a host name of ASCII"),
        ('"smtp.a.mssante.fr"', '""', "operator.hostname: must not be empty"),
        (
            '"smtp.a.mssante.fr"',
            '"x"\npostmaster = "y"',
            "operator.postmaster: expected a mailbox:",
        ),
        ('hostname = "smtp.a.mssante.fr"', "", "operator.hostname: missing; add it, such as: host"),
    ],
)
def test_what_is_to_be_written(tmp_path: Path, right: str, wrong: str, message: str) -> None:
    said = refusal(tmp_path, GOOD.replace(right, wrong, 1))
    assert said.startswith(message)
    for word in ("Input should", "Value error", "String should", "List should"):
        assert word not in said


def test_a_byte_order_mark_is_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load(path).operator.hostname == "smtp.a.mssante.fr"


def test_latin_1_is_named_by_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    path.write_bytes(path.read_bytes() + "\n# clé\n".encode("latin-1"))
    lines = path.read_bytes().count(b"\n")
    with pytest.raises(
        SettingsError, match=rf"line {lines} is not UTF-8; save it as UTF-8, or run"
    ):
        load(path)


def test_a_path_that_is_not_utf_8(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"h\xf4pital")
    folder.mkdir()
    with pytest.raises(SettingsError, match="path name not in UTF-8") as refused:
        load(write(folder, GOOD))
    str(refused.value).encode()  # the message can be printed


def test_a_folder_is_not_the_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"run with: --config {tmp_path}/mssante.toml"):
        find(tmp_path)


def test_a_missing_section(tmp_path: Path) -> None:
    text = GOOD.replace('[trust]\nanchors = ["pki/root.pem"]\n', "")
    assert refusal(tmp_path, text).startswith("trust: missing; add it")


def test_the_files_own_name_is_no_key(tmp_path: Path) -> None:
    assert refusal(tmp_path, f'origin = "x"\n{GOOD}') == "origin: unknown key; remove it"


def test_not_text(tmp_path: Path) -> None:
    path = tmp_path / "mssante.toml"
    path.write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="cannot be read"):
        load(path)


def test_no_file_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="mssante init DIR"):
        find(None)
    with pytest.raises(SettingsError, match=r"other\.toml: no such file"):
        find(tmp_path / "other.toml")
    write(tmp_path, GOOD)
    assert find(None) == tmp_path / "mssante.toml"


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:25", "127.0.0.1", 25), ("[::1]:2525", "::1", 2525), ("mx.b.fr:25", "mx.b.fr", 25)],
)
def test_endpoints(text: str, host: str, port: int) -> None:
    assert split_endpoint(text) == (host, port)


def test_the_reference_works_as_it_is_printed(tmp_path: Path) -> None:
    text = reference()
    settings = load(write(tmp_path, text))
    free = {
        f"{table}.{key}"
        for table, keys in tomllib.loads(text).items()
        for key, value in keys.items()
        if not isinstance(value, dict)
    }
    required = {
        f"{table}.{key}"
        for table, field in Settings.model_fields.items()
        if table != "origin"
        for key, info in type(getattr(settings, table)).model_fields.items()
        if info.is_required()
    }
    assert free == required | {"whitelist.file"}  # url or file must be given


def test_the_reference_is_a_configuration_with_every_key(tmp_path: Path) -> None:
    # Uncommented, the text must load: so every default in it is valid.
    lines = []
    for line in reference().splitlines():
        bare = line.removeprefix("# ")
        is_key = (
            "=" in bare and bare.split("=")[0].strip().strip('"').replace(".", "_").isidentifier()
        )
        lines.append(bare if is_key else line)
    text = "\n".join(lines)
    settings = load(write(tmp_path, text))
    stated = tomllib.loads(text)
    for name, field in Settings.model_fields.items():
        if name != "origin":
            section = getattr(settings, name)
            assert set(stated[name]) == set(type(section).model_fields), field


def signed_by(folder: Path, keys: str) -> Path:
    """The good file with more keys in [whitelist]."""
    return write(folder, GOOD.replace("[whitelist]\n", f"[whitelist]\n{keys}\n"))


def test_the_lists_signer_can_be_pinned(tmp_path: Path) -> None:
    keys = 'signer_dn = "CN=alb.mssante.fr,O=X,C=FR"\nsigner_policy = "1.2.250.1"'
    expected = load(signed_by(tmp_path, keys)).whitelist.expected_signer
    assert str(expected.name) == "CN=alb.mssante.fr,O=X,C=FR"
    assert (expected.common_name, expected.policy) == ("alb.mssante.fr", "1.2.250.1")
    plain = load(write(tmp_path, GOOD)).whitelist.expected_signer
    assert (plain.name, plain.policy) == (None, "")


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ('signer_dn = "no name"', "expected TYPE=VALUE"),
        ('signer_dn = "CN=b.fr,C=FR"', "signer_dn has CN=b.fr, but signer is alb.mssante.fr"),
        ('signer = "alb.m\u017fsante.fr"', "whitelist.signer"),
        ('signer = "alb.mssante.fr "', "whitelist.signer"),
        ('signer = ""', "whitelist.signer"),
        ('signer_policy = "SERV"', "whitelist.signer_policy"),
    ],
)
def test_a_signer_that_cannot_be_is_refused(tmp_path: Path, keys: str, says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(signed_by(tmp_path, keys))
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
