"""Command line: modules that it loads, exit codes."""

import subprocess
import sys

import click
import pytest

from mssante_operator.cli.main import cli, main
from mssante_operator.errors import OperatorError
from tests.support.machines.daemon import command


def loaded_by(module: str) -> set[str]:
    """Modules loaded in a new interpreter after the import of `module`."""
    script = f"import sys, {module}; print(*sys.modules)"
    out = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, timeout=60
    ).stdout
    return set(out.decode().split())


def test_help_needs_no_database_and_serving_no_migrations() -> None:
    # Each command loads only its own libraries: loading takes longer than most commands run.
    assert not loaded_by("mssante_operator.cli.main") & {"sqlalchemy", "alembic", "dns", "pydantic"}
    serving = loaded_by("mssante_operator.cli.serve")
    assert "sqlalchemy" in serving
    assert "alembic" not in serving


def test_the_garbage_collector_is_on_again_once_a_command_is_loaded() -> None:
    script = (
        "import gc, click; from mssante_operator.cli.main import cli\n"
        "cli.get_command(click.Context(cli), 'serve'); print(gc.isenabled())"
    )
    out = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, timeout=60
    ).stdout
    assert out == b"True\n"


def test_every_command_is_found_under_its_name() -> None:
    context = click.Context(cli)
    names = cli.list_commands(context)
    assert "serve" in names
    for name in names:
        found = cli.get_command(context, name)
        assert found is not None
        assert found.name == name


def test_a_command_that_is_none_is_wrong_usage() -> None:
    code, out, err = command("sreve")
    assert (code, out) == (2, "")
    assert "No such command 'sreve'" in err


def test_an_expected_error_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise OperatorError("in vain: do otherwise")

    monkeypatch.setattr(cli, "main", fail)
    assert command("demo") == (1, "", "mssante: in vain: do otherwise\n")


def test_no_error_shows_a_patient_or_acts_on_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for words in (["trace", "279035121518989\x1b[2J\u202e"], ["\x9b279035121518989"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 2
        said = capsys.readouterr().err
        assert "279035121518989" not in said
        assert "***" in said
        assert said.replace("\n", "").isprintable()
