"""Writes generated files: annotated configuration, command reference, index of decisions."""

import sys
from pathlib import Path

import click

from mssante_operator.cli.main import cli
from mssante_operator.settings.reference import reference
from tools import decisions

ROOT = Path(__file__).resolve().parent.parent


def commands() -> str:
    """Help texts of all commands, as a page."""
    parts = ["# Commands", "", "Generated from the program by `make docs`.", ""]

    def add(command: click.Command, path: tuple[str, ...]) -> None:
        context = click.Context(command, info_name=" ".join(path), terminal_width=90)
        parts.extend([f"## {' '.join(path)}", "", "```text", command.get_help(context), "```", ""])
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                if child is not None:
                    add(child, (*path, name))

    add(cli, ("mssante",))
    return "\n".join(parts)


def pages() -> dict[Path, str]:
    """Paths of the generated files, with their content."""
    return {
        ROOT / "config" / "mssante.example.toml": reference(),
        ROOT / "docs" / "commands.md": commands(),
        decisions.FOLDER / "README.md": decisions.page(),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
