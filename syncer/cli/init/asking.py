"""The questions, and how a person is asked.

Invariant: questions go to standard error, and a secret that is typed is not shown. A question that a flag has
answered is not asked.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from getpass import getpass
from pathlib import Path

import click
from msgspec import structs
from rich.text import Text

from syncer.cli.init.answers import (
    DEFAULT_NAME,
    EMBEDDED,
    Answers,
    Kept,
    Specs,
    fields,
    is_list,
    is_secret,
    modes,
    needed,
    problem_of,
    problem_of_name,
    several,
)
from syncer.cli.output import clean, err, note
from syncer.config import Connection, Section, Warehouse
from syncer.embedded import installed_programs

Problem = Callable[[str], str | None]

AGAIN, WRITE, STOP = "again", "write", "stop"
WAREHOUSE = "warehouse"
FILES, ENVIRONMENT = "files", "environment"
SECRETS = "secrets"
"""The folder beside the configuration that secrets are written to."""


def nothing_wrong(_text: str) -> None:
    """For questions whose every answer will do."""


class Person:
    """Somebody at a terminal."""

    def ask(
        self,
        question: str,
        *,
        default: str = "",
        problem: Problem = nothing_wrong,
        is_secret: bool = False,
        may_be_empty: bool = False,
    ) -> str:
        """Ask until the answer will do."""
        prompt = Text.assemble((question, "bold"), f" [{default}]" if default else "", ": ")
        while True:
            text = self._read(prompt, is_secret=is_secret) or default
            if not text and may_be_empty:
                return text
            says = problem(text) if text else "an answer is needed"
            if says is None:
                return text
            note(f"  {clean(says)}", "yellow")

    def choose(self, question: str, choices: Sequence[str], default: str) -> str:
        """Ask for one of a few words; the beginning of one is enough."""
        told = f"{question} ({', '.join(choices)})"

        def problem(text: str) -> str | None:
            return None if _meant(text, choices) else f"one of {', '.join(choices)}"

        return _meant(self.ask(told, default=default, problem=problem), choices) or default

    def confirm(self, question: str, *, default: bool) -> bool:
        """Ask for yes or no."""
        return self.choose(question, ("yes", "no"), "yes" if default else "no") == "yes"

    def _read(self, prompt: Text, *, is_secret: bool) -> str:
        try:
            return _hidden(prompt) if is_secret else err.input(prompt).strip()
        except (EOFError, KeyboardInterrupt):
            note("")  # the question has not ended its line
            raise click.Abort from None


def _hidden(prompt: Text) -> str:
    """What is typed, not shown from the moment that the question is."""
    with err.capture() as captured:
        err.print(prompt, end="")
    return getpass(captured.get(), stream=sys.stderr)


def _meant(text: str, choices: Sequence[str]) -> str | None:
    exact = [each for each in choices if each == text]
    begun = [each for each in choices if each.startswith(text.lower())]
    return exact[0] if exact else begun[0] if len(begun) == 1 else None


class Interview:
    """Asks for everything that the answers lack."""

    def __init__(
        self, person: Person, answers: Answers, specs: Specs, file: Path, examples: Mapping[str, str]
    ) -> None:
        self._person = person
        self._answers = answers
        self._specs = specs
        self._folder = file.absolute().parent / SECRETS
        self._examples = examples
        self._place = ""
        self._before = Answers()

    def complete(self) -> Answers:
        """The answers, with nothing missing."""
        answers = self._answers
        answers.platform = answers.platform or self._platform()
        answers.name = answers.name or self._person.ask(
            "Name of the connection; it stands in every row", default=DEFAULT_NAME, problem=problem_of_name
        )
        answers.base_url = answers.base_url or self._base_url(answers.platform)
        self._sign_in(answers)
        self._options(answers)
        answers.warehouse = answers.warehouse or self._warehouse()
        self._test_values(answers)
        note("")
        return answers

    def choose_what_next(self) -> str:
        """What to do with answers that do not work."""
        return self._person.choose(
            "Answer again, write it all the same, or stop?", (AGAIN, WRITE, STOP), AGAIN
        )

    def again(self, wrong: Collection[str]) -> Answers:
        """The answers with those about what is `wrong` asked for once more; texts given before are offered."""
        answers, self._before = self._answers, structs.replace(self._answers)
        if answers.name in wrong:
            answers.base_url, answers.mode, answers.auth = None, None, {}
        if WAREHOUSE in wrong:
            answers.warehouse = None
        return self.complete()

    def _platform(self) -> str:
        names = list(self._specs)
        return self._person.choose("Platform", names, names[0])

    def _base_url(self, platform: str) -> str:
        example = self._examples.get(platform, "")
        return self._person.ask(
            f"Address of its API, such as {example}" if example else "Address of its API",
            default=self._before.base_url or "",
            problem=partial(problem_of, Connection, "base_url"),
        )

    def _sign_in(self, answers: Answers) -> None:
        known = modes(self._specs[answers.platform or ""])
        answers.mode = answers.mode or self._person.choose(
            "Way to sign in", list(known), self._before.mode or next(iter(known))
        )
        model = known[answers.mode]
        for key in fields(model):
            if key in answers.auth:
                continue
            if is_secret(model, key):
                answers.auth[key] = self._secret(
                    key, f"{answers.name}-{key}", partial(problem_of, model, key)
                )
            elif key in needed(model):
                before = self._before.auth.get(key)
                answers.auth[key] = self._person.ask(
                    key,
                    default=before if isinstance(before, str) else "",
                    problem=partial(problem_of, model, key),
                )

    def _options(self, answers: Answers) -> None:
        """What the platform needs to be told besides."""
        model = self._specs[answers.platform or ""].options
        for key in needed(model):
            if key in answers.keys:
                continue
            told = f"{key}, with commas between" if is_list(model, key) else key
            problem = partial(_problem_of_text, model, key)
            answers.keys[key] = several(model, key, self._person.ask(told, problem=problem))

    def _warehouse(self) -> str | Kept:
        """Embedded, or an address, which holds a password."""
        choices = ("embedded", "address")
        default = choices[0] if installed_programs() else choices[1]
        question = "Warehouse: an embedded PostgreSQL, or the address of yours?"
        if self._person.choose(question, choices, default) == EMBEDDED:
            return EMBEDDED
        return self._secret(
            "postgresql://user:password@host:5432/database",
            "warehouse-url",
            partial(problem_of, Warehouse, "url"),
        )

    def _secret(self, question: str, name: str, problem: Problem) -> Kept:
        """Ask where secrets are to be kept, once, and for this one."""
        self._place = self._place or self._person.choose(
            f"Keep secrets in files in {self._folder}, or in environment variables?",
            (FILES, ENVIRONMENT),
            FILES,
        )
        if self._place == ENVIRONMENT:
            variable = name.upper().replace("-", "_")
            return Kept(
                place="env", name=self._person.ask(f"Variable for {name}", default=variable, problem=_unfit)
            )
        file = self._folder / name
        if file.exists() and self._person.confirm(f"{file} is there: use what it holds?", default=True):
            return Kept(place="file", name=str(file))
        value = self._person.ask(f"{question} (not shown)", problem=problem, is_secret=True)
        return Kept(place="file", name=str(file), value=value, is_new=True)

    def _test_values(self, answers: Answers) -> None:
        """Values of variables that are not set here, to test them."""
        answers.auth = {key: self._tested(value) for key, value in answers.auth.items()}
        answers.warehouse = self._tested(answers.warehouse) if answers.warehouse else None

    def _tested(self, value: str | Kept) -> str | Kept:
        if not isinstance(value, Kept) or value.place != "env" or os.environ.get(value.name):
            return value
        question = f"{value.name} is not set here; its value, for this test alone (not shown; empty: no test)"
        typed = self._person.ask(question, is_secret=True, may_be_empty=True)
        return Kept(place="env", name=value.name, value=typed) if typed else value


def _problem_of_text(model: type[Section], key: str, text: str) -> str | None:
    return problem_of(model, key, several(model, key, text))


def _unfit(variable: str) -> str | None:
    return (
        None
        if variable.isidentifier() and variable.isascii()
        else "letters, digits and _, such as PROD_PASSWORD"
    )
