"""What the file is made of: what was given as flags, what a person answered, and what is still missing.

Invariant: a secret is only ever a reference here, with its value beside it where that is known. Must not know how
answers are asked for or written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import get_args, get_origin

from msgspec import Struct, field
from pydantic import BaseModel, ValidationError

from syncer.config import PlatformSpec, SecretText, Section, Tuning
from syncer.config.problems import problems

Specs = Mapping[str, PlatformSpec]

EMBEDDED = "embedded"
NAME = re.compile(r"[a-z0-9_-]{1,63}")
DEFAULT_NAME = "prod"


class Kept(Struct, frozen=True, kw_only=True):
    """A secret: kept in a `file` or an `env` variable of that name.

    `value` is set where the reference does not lead to it yet: a file still to be written, if `is_new`, or a
    variable that is not set here.
    """

    place: str
    name: str
    value: str | None = None
    is_new: bool = False

    def __repr__(self) -> str:
        return f"Kept({self.place}:{self.name})"


class Answers(Struct, kw_only=True):
    """Everything that goes into the file; None, or a key that is not there, is not known yet.

    `auth` holds no mode; `keys` are any other keys of the connection's table, as TOML holds them.
    """

    platform: str | None = None
    name: str | None = None
    base_url: str | None = None
    mode: str | None = None
    auth: dict[str, str | Kept] = field(default_factory=dict)
    keys: dict[str, object] = field(default_factory=dict)
    warehouse: str | Kept | None = None

    def kept(self) -> list[Kept]:
        """All secrets."""
        values = (*self.auth.values(), *self.keys.values(), self.warehouse)
        return [value for value in values if isinstance(value, Kept)]


def modes(spec: PlatformSpec) -> dict[str, type[Section]]:
    """The ways to sign in, by their names."""
    return {get_args(model.model_fields["mode"].annotation)[0]: model for model in spec.auth}


def fields(model: type[Section]) -> list[str]:
    """The keys of a way to sign in, without its name."""
    return [key for key in model.model_fields if key != "mode"]


def needed(model: type[BaseModel]) -> list[str]:
    """The keys that have no default."""
    return [key for key, each in model.model_fields.items() if each.is_required() and key != "mode"]


def model_of(spec: PlatformSpec, key: str) -> type[Section]:
    """Where a key of the connection's table is explained."""
    return spec.options if key in spec.options.model_fields else Tuning


def is_secret(model: type[BaseModel], key: str) -> bool:
    """Whether the key holds a secret."""
    return key in model.model_fields and _holds(model.model_fields[key].annotation, SecretText)


def is_list(model: type[BaseModel], key: str) -> bool:
    """Whether the key holds several texts."""
    annotation = model.model_fields[key].annotation
    return get_origin(annotation) in (tuple, list) or _holds(annotation, tuple)


def several(model: type[BaseModel], key: str, text: str) -> object:
    """The text, or for a key that holds several texts those between its commas."""
    return [each.strip() for each in text.split(",") if each.strip()] if is_list(model, key) else text


def _holds(annotation: object, wanted: type) -> bool:
    return annotation is wanted or any(_holds(each, wanted) for each in get_args(annotation))


def problem_of(model: type[BaseModel], key: str, value: object) -> str | None:
    """What is wrong with the value of one key; None where nothing is."""
    try:
        model.model_validate({key: value}, context={"env": {}})
    except ValidationError as error:
        return next((says for keys, says in problems(error, model) if keys[:1] == (key,)), None)
    return None


def problem_of_name(name: str) -> str | None:
    """What is wrong with the name of a connection."""
    return None if NAME.fullmatch(name) else "a name has 1 to 63 of a-z, 0-9, _ and -"


def missing(answers: Answers, specs: Specs) -> Iterator[str]:
    """The flags that would tell what is not known yet."""
    if answers.platform is None:
        yield f"--platform ({', '.join(specs)})"
    if answers.base_url is None:
        yield "--base-url URL"
    if answers.warehouse is None:
        yield "--warehouse embedded|env:NAME|file:PATH"
    if answers.platform is None:
        return
    spec = specs[answers.platform]
    yield from _missing_auth(answers, spec)
    for key in needed(spec.options):
        if key not in answers.keys:
            yield f"--set {key}=VALUE"


def _missing_auth(answers: Answers, spec: PlatformSpec) -> Iterator[str]:
    known = modes(spec)
    if answers.mode is not None:
        yield from _auth_flags(answers, known[answers.mode])
        return
    ways = [" ".join([f"--auth mode={mode}", *_auth_flags(answers, model)]) for mode, model in known.items()]
    yield "\n  or ".join(ways)


def _auth_flags(answers: Answers, model: type[Section]) -> list[str]:
    lacking = [key for key in needed(model) if key not in answers.auth]
    return [f"--auth {key}={'env:NAME' if is_secret(model, key) else 'VALUE'}" for key in lacking]
