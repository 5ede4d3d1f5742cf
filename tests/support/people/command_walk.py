"""Walk through all commands, and which of them an account may be behind (--as)."""

from collections.abc import Iterator

import click

from mssante_operator.cli.main import cli


def walk(group: click.Group = cli, words: tuple[str, ...] = ()) -> Iterator[tuple[str, bool]]:
    """Each command by its words, and whether it has the option --as of an account."""
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        if isinstance(found, click.Group):
            yield from walk(found, (*words, name))
        elif found is not None:
            has = any(one.name == "as_login" for one in found.params)
            yield " ".join((*words, name)), has
