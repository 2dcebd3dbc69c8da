"""docs/queries.md: every query runs as it stands there, with the rights it names, and answers what it shows."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import ProgrammingError

from syncer.warehouse import grant
from tests.questions import Question, ask, questions

QUESTIONS = questions()
READS_PAYLOADS = "step_io"

each_question = pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.title)


@pytest.fixture(scope="module")
def readers(copied: Engine) -> Iterator[dict[bool, Engine]]:
    """The warehouse as a BI role sees it, without and with payloads."""
    made = {}
    names = {with_payloads: f"bi_{uuid4().hex}" for with_payloads in (False, True)}
    with copied.begin() as db:
        for with_payloads, name in names.items():
            db.exec_driver_sql(f"CREATE ROLE {name} LOGIN PASSWORD '{name}'")
            grant(db, name, with_payloads)
            address = copied.url.set(username=name, password=name)
            made[with_payloads] = create_engine(address)
    yield made
    for engine in made.values():
        engine.dispose()
    with copied.begin() as db:
        for name in names.values():
            db.exec_driver_sql(f"DROP OWNED BY {name}")
            db.exec_driver_sql(f"DROP ROLE {name}")


def test_there_are_twenty() -> None:
    assert len(QUESTIONS) == len({question.title for question in QUESTIONS}) == 20


@each_question
def test_it_answers_what_stands_under_it(question: Question, readers: dict[bool, Engine]) -> None:
    told = ask(readers[READS_PAYLOADS in question.sql], question)
    assert told == question.answer, "run `python -m tests.questions` if the answer may be another one now"
    assert told.count("\n") > 2, "there is an answer"


@each_question
def test_only_payloads_need_a_right_of_their_own(question: Question, readers: dict[bool, Engine]) -> None:
    if READS_PAYLOADS not in question.sql:
        ask(readers[False], question)
        return
    with pytest.raises(ProgrammingError) as refused:
        ask(readers[False], question)
    assert isinstance(refused.value.orig, InsufficientPrivilege)
