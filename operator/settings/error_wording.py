"""Error texts of the configuration: they say what to write, in place of pydantic's texts.

Pure.  An unknown key is reported first: a missing key is often the same key, misspelt.
"""

import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

_PASSWORD: Final = re.compile("://[^/]*@")  # in a URL
_HIDDEN_KEYS: Final = frozenset({"origin"})  # fields of the model that are not keys of the file
_LONGEST: Final = 80  # limit of a shown value, in characters

_Context = dict[str, Any]

# pydantic's error type to our text; the context has the bounds.
_WORDS: Final[Mapping[str, Callable[[_Context], str]]] = {
    "greater_than": lambda c: f"must be above {c['gt']:g}",
    "greater_than_equal": lambda c: f"must be {c['ge']:g} or more",
    "less_than": lambda c: f"must be below {c['lt']:g}",
    "less_than_equal": lambda c: f"must be {c['le']:g} or less",
    "finite_number": lambda _: "must be a finite number",
    "int_type": lambda _: "expected a whole number, without quotes",
    "int_from_float": lambda _: "expected a whole number",
    "float_type": lambda _: "expected a number, without quotes",
    "bool_type": lambda _: "expected true or false, without quotes",
    "string_type": lambda _: 'expected text in quotes: "…"',
    "list_type": lambda _: 'expected a list: ["…"]',
    "dict_type": lambda _: "expected a table: [name] on a line of its own",
    "model_type": lambda _: "expected a table: [name] on a line of its own",
    "string_too_short": lambda _: "must not be empty",
    "too_short": lambda c: f"needs {c['min_length']} or more entries",
    "enum": lambda c: f"expected {_quoted(c['expected'])}",
    "literal_error": lambda c: f"expected {_quoted(c['expected'])}",
    "value_error": lambda c: str(c["error"]),
}


def explain(model: type[BaseModel], problems: Sequence[ErrorDetails]) -> str:
    """A line about the first problem, starting with its key."""
    first = min(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    location = first["loc"]
    key = ".".join(map(str, location))
    match first["type"]:
        case "extra_forbidden":
            return f"{key}: unknown key; {_instead(model, location)}"
        case "missing":
            return f"{key}: missing; add it{_such(model, location)}"
        case kind:
            words = _WORDS.get(kind, _of_another_form)
            form = _form(model, location) if kind == "string_pattern_mismatch" else ""
            context: _Context = first.get("ctx", {})
            said = f"{key}: {form or words(context)}"
            # An error about a whole table names its keys; the table itself is not shown.
            return said if isinstance(first["input"], dict) else f"{said}; {_shown(first['input'])}"


def _instead(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """Advice about an unknown key: a similar key, another table, or removal."""
    name = str(location[-1])
    near = difflib.get_close_matches(name, _keys(_table(model, location[:-1])), n=1)
    if near:
        return f"did you mean {near[0]}?"
    homes = [
        table
        for table, field in model.model_fields.items()
        if _is_table(field.annotation) and name in _keys(field.annotation)
    ]
    if homes and len(location) > 1:
        return "it belongs in " + " or ".join(f"[{home}]" for home in homes)
    return "remove it"


def _of_another_form(_: _Context) -> str:
    return "wrong format"


def _such(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """Example for a missing key."""
    field = _table(model, location[:-1]).model_fields[location[-1]]
    if not field.examples:
        return " (mssante config reference shows every key)"
    return f", such as: {location[-1]} = {json.dumps(field.examples[0], ensure_ascii=False)}"


def _table(model: type[BaseModel], location: tuple[int | str, ...]) -> Any:
    table: Any = model
    for part in location:
        if get_origin(table) is dict:  # table of tables whose names the site chooses
            table = get_args(table)[1]
        else:
            table = table.model_fields[part].annotation
    return table


def _is_table(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _keys(table: Any) -> list[str]:
    return [name for name in table.model_fields if name not in _HIDDEN_KEYS]


def _form(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """Expected form of a text: from its key's schema, else from its example."""
    field = _table(model, location[:-1]).model_fields[location[-1]]
    extra = field.json_schema_extra
    if isinstance(extra, dict) and "form" in extra:
        return f"expected {extra['form']}"
    return f"expected text such as {json.dumps(field.examples[0])}" if field.examples else ""


def _quoted(expected: str) -> str:
    """List `'a', 'b' or 'c'` of pydantic with the quotes of TOML."""
    return expected.replace("'", '"')


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    if _PASSWORD.search(text):
        return "value not shown: it may contain a password"
    return f"found {text if len(text) <= _LONGEST else text[:_LONGEST] + '…'}"
