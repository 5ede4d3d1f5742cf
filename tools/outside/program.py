"""Inventory of the program: commands, configuration, alarms, database tables."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import sqlalchemy as sa

from mailstore.db.database import Database
from mssante_operator.assembly.database.migrations import upgrade
from mssante_operator.cli.main import cli
from mssante_operator.monitoring.alarms import AlarmName
from mssante_operator.settings.base import Section
from mssante_operator.settings.model import Settings


def commands() -> frozenset[str]:
    """Commands; and their parameters with names, type, default and whether required."""
    return frozenset(
        f"{' '.join(path)}{part}" for path, command in _walk() for part in ("", *_options(command))
    )


def help_lines() -> frozenset[str]:
    """Lines of `--help` of each command, with their command."""
    return frozenset(
        f"{' '.join(path)} | {line}"
        for path, command in _walk()
        for line in command.get_help(
            click.Context(command, info_name=" ".join(path), terminal_width=90)
        ).splitlines()
        if line.strip()
    )


def _walk() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    waiting: list[tuple[tuple[str, ...], click.Command]] = [(("mssante",), cli)]
    while waiting:
        path, command = waiting.pop()
        yield path, command
        if isinstance(command, click.Group):
            context = click.Context(command)
            found = (
                (name, command.get_command(context, name))
                for name in command.list_commands(context)
            )
            waiting += [((*path, name), child) for name, child in found if child is not None]


def _options(command: click.Command) -> Iterator[str]:
    for one in command.params:
        told = one.to_info_dict()
        kind = told["type"]
        facts = {
            "type": kind.get("choices") or kind["name"],
            "bounds": [kind.get("min"), kind.get("max")],
            "required": told["required"],
            "multiple": told["multiple"],
            "default": str(told["default"]),
            "hidden": told.get("hidden", False),
        }
        names = "/".join((*told["opts"], *told["secondary_opts"]))
        yield f" {names} {json.dumps(facts, sort_keys=True, default=str)}"


def configuration() -> frozenset[str]:
    """`section.key` with type, bounds and default."""
    return frozenset(_keys(Settings, ""))


def _keys(section: type[Section], prefix: str) -> Iterator[str]:
    # `origin` is a path, which JSON's schema takes for text; it is not a key of the file.
    schema = section.model_json_schema()
    for name, field in section.model_fields.items():
        nested = field.annotation
        if field.exclude:
            continue
        if isinstance(nested, type) and issubclass(nested, Section):
            yield from _keys(nested, f"{prefix}{name}.")
            continue
        if field.is_required():
            default = "required"
        else:
            default = repr(field.get_default(call_default_factory=True, validated_data={}))
        kind = json.dumps(_plain(schema["properties"][name], schema.get("$defs", {})))
        yield f"{prefix}{name} {kind} {default}"


def _plain(schema: Any, named: dict[str, Any]) -> Any:
    """A schema without descriptions and names of classes."""
    if isinstance(schema, list):
        return [_plain(one, named) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _plain(named[schema["$ref"].rpartition("/")[2]], named)
    wordy = {"title", "description", "examples", "default"}
    return {key: _plain(schema[key], named) for key in sorted(schema.keys() - wordy)}


def alarms() -> frozenset[str]:
    """Names of alarms."""
    return frozenset(name.value for name in AlarmName)


def tables() -> frozenset[str]:
    """Tables, columns, keys and indexes made by the migrations, on SQLite."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "outside.db"
        upgrade(path)
        with closing(Database(path, pool_size=1)) as database, database.connect() as connection:
            made = connection.execute(
                sa.text("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL")
            ).all()
            inspected = sa.inspect(connection)
            columns = {
                f"column {table}.{one['name']} {one['type']}"
                f"{'' if one['nullable'] else ' NOT NULL'} default {one['default']}"
                for table in inspected.get_table_names()
                for one in inspected.get_columns(table)
            }
    return frozenset(columns) | {f"{kind} {' '.join(sql.split())}" for kind, _, sql in made}
