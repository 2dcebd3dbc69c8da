"""How a problem reads: `connections.prod.poll: "5 minutes" is not a duration; write it like "5m"`.

Invariant: one line per problem, with the key's path and what would be right. No value is quoted here: it may
be a secret. A validator that knows its value is none may do so in its ValueError.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

_SENTENCES = {
    "bool_type": "must be true or false, without quotes",
    "dict_type": "must be a table",
    "finite_number": "must be a finite number",
    "float_type": "must be a number, without quotes",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_type": "must be a whole number, without quotes",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "list_type": 'must be a list, like ["a", "b"]',
    "literal_error": "must be {expected}",
    "model_type": "must be a table",
    "string_type": "must be a text in quotes",
    "tuple_type": 'must be a list, like ["a", "b"]',
}


def dotted(*keys: str | int) -> str:
    """The path of a key: connections.prod.workflows[0]."""
    path = ""
    for key in keys:
        path += f"[{key}]" if isinstance(key, int) else f".{key}" if path else key
    return path


def problems(error: ValidationError, model: type[BaseModel]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Where in the model and what, for each of the errors."""
    for detail in error.errors(include_url=False, include_input=False):
        keys = detail["loc"]
        yield keys, _sentence(detail["type"], detail["msg"], detail.get("ctx", {}), keys, model)


def _sentence(
    kind: str, text: str, context: dict[str, Any], keys: tuple[str | int, ...], model: type[BaseModel]
) -> str:
    match kind:
        case "value_error":
            return str(context["error"])
        case "missing":
            return _described(model, keys, "missing")
        case "string_too_short":
            return _described(model, keys, "must not be empty")
        case "string_pattern_mismatch":
            return _described(model, keys, "cannot be this text")
        case "extra_forbidden":
            return unknown(str(keys[-1]), model.model_fields)
    bounds = {
        name: int(of) if isinstance(of, float) and of.is_integer() else of for name, of in context.items()
    }
    return _SENTENCES[kind].format(**bounds).replace("'", '"') if kind in _SENTENCES else text


def _described(model: type[BaseModel], keys: tuple[str | int, ...], says: str) -> str:
    """What is wrong, and what to write instead: the field's description says it."""
    field = model.model_fields.get(str(keys[-1]))
    return f"{says}; {field.description}" if field and field.description else says


def unknown(name: str, known: Collection[str], what: str = "key") -> str:
    """An unknown name and the known one that is meant, or all of them."""
    meant = difflib.get_close_matches(name, known, n=1)
    if meant:
        return f"unknown {what}; did you mean {meant[0]!r}?"
    return f"unknown {what}; known here are {', '.join(known)}"


def listed(names: Collection[str]) -> str:
    """The words that may stand here: "a", "b" or "c"."""
    *others, last = (f'"{name}"' for name in names)
    return f"{', '.join(others)} or {last}" if others else last
