"""Annotated configuration, generated from the model so that it is always up to date."""

import json
import textwrap
from typing import Any, Final

from pydantic.fields import FieldInfo

from .base import Section
from .model import Settings

_HEAD = """\
Configuration of an MSSanté operator.  Relative paths start from this file's folder.
Keys that must be given stand free; all others are commented out, with their default, or with an
example where the default is empty.
"""
# Shown uncommented: [whitelist] needs `url` or `file`, although neither is required alone.
_ONE_OF_TWO: Final = frozenset({("whitelist", "file")})


def reference() -> str:
    """Every key with its description, as TOML.  It loads if the paths in it exist."""
    blocks = [_comment(_HEAD)]
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            blocks.append(_table(name, section))
    return "\n".join(blocks)


def _table(name: str, section: type[Section]) -> str:
    lines = [_comment(section.__doc__ or ""), f"[{name}]\n"]
    lines += [_entry(name, key, info) for key, info in section.model_fields.items()]
    return "".join(lines)


def _entry(section: str, key: str, info: FieldInfo) -> str:
    nested = info.annotation
    if isinstance(nested, type) and issubclass(nested, Section):
        return "\n" + _table(f"{section}.{key}", nested)
    text = _comment(info.description or "")
    if info.is_required():
        return f"{text}{key} = {_toml(info.examples[0] if info.examples else '')}\n"
    default = info.get_default(call_default_factory=True, validated_data={})
    if isinstance(default, dict):
        example = (info.examples or [{}])[0]
        lines = "".join(f"# {_toml(k)} = {_toml(v)}\n" for k, v in example.items())
        return f"{text}[{section}.{key}]\n{lines}"
    shown = info.examples[0] if info.examples and default in ("", []) else default
    free = "" if (section, key) in _ONE_OF_TWO else "# "
    return f"{text}{free}{key} = {_toml(shown)}\n"


def _comment(text: str) -> str:
    return "".join(f"# {line}\n" for line in textwrap.wrap(" ".join(text.split()), 96))


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml(one)}' for key, one in value.items())} }}"
    # JSON strings, numbers and lists of them are valid TOML.
    return json.dumps(value, ensure_ascii=False)
