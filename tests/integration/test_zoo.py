"""The zoo in a real PostgreSQL: it lands, it comes back as the same values, and a dump of it can be restored."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from syncer.decode.payload import decode_payload
from syncer.decode.redact import Redactor
from syncer.embedded import Programs, installed_programs
from tests.integration.rows import NOW, ended, event, load_reads, steps_read, write
from tests.servers import Server
from tests.zoo import LIMIT, Animal, animals, b64, exact, gz

REDACTOR = Redactor(["password", "secret", "token"])
NOTHING_SECRET = Redactor([])
PER_EXECUTION = 40


def different_animals() -> list[Animal]:
    """One of each kind: what differs only in how it was wrapped is stored alike."""
    kinds = {(animal.state, animal.stored, animal.raw): animal for animal in reversed([*animals()])}
    return list(kinds.values())[::-1]


ZOO = different_animals()


def house(engine: Engine, zoo: list[Animal]) -> None:
    """Load every animal as the input of a node of its own, as a sync does."""
    for start in range(0, len(zoo), PER_EXECUTION):
        name = f"e{start}"
        write(engine, ended(execution_id=name))
        events = [
            event(
                execution_id=name,
                event_id=f"v{number}",
                node_id=f"{number}",
                input=decode_payload(animal.sent, limit=LIMIT, redactor=REDACTOR),
            )
            for number, animal in enumerate(zoo[start : start + PER_EXECUTION], start)
        ]
        assert load_reads(engine, steps_read(*events, execution_id=name), at=NOW).refused == []


def stored(engine: Engine) -> dict[int, tuple[str | None, str, bytes | None]]:
    """What a SELECT brings back: number -> (the text of the value, its state, the raw bytes)."""
    query = "SELECT node_id, input::text, input_state, input_raw FROM history.step_io"
    with engine.connect() as db:
        return {int(number): (value, state, raw) for number, value, state, raw in db.execute(text(query))}


def test_every_animal_of_the_zoo_lands_and_comes_back_as_the_value_sent(engine: Engine) -> None:
    house(engine, ZOO)
    found = stored(engine)
    assert len(found) == len(ZOO)
    wrong = [animal.name for number, animal in enumerate(ZOO) if not _is_itself(animal, *found[number])]
    assert wrong == []


def _is_itself(animal: Animal, value: str | None, state: str, raw: bytes | None) -> bool:
    if (state, raw) != (animal.state, animal.raw) or (value is None) != (animal.stored is None):
        return False
    return value is None or animal.stored is None or exact(value) == exact(animal.stored)


def test_a_dump_of_the_whole_zoo_can_be_restored_and_holds_the_same(
    engine: Engine, empty_database_url: str, tmp_path: Path
) -> None:
    house(engine, ZOO)
    source = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    restore(source, empty_database_url, tmp_path / "dump.sql")
    assert contents(empty_database_url) == contents(source)


def restore(source: str, target: str, file: Path) -> None:
    """pg_dump | psql, by the programs of the server's own version."""
    folder = programs_for(source).folder
    subprocess.run([folder / "pg_dump", f"--file={file}", source], check=True, capture_output=True)
    quiet = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--file={file}", target]
    subprocess.run([folder / "psql", *quiet], check=True, capture_output=True)


def programs_for(url: str) -> Programs:
    """The client programs of this server's version."""
    with psycopg.connect(url) as db:
        major = db.info.server_version // 10_000
    for programs in installed_programs():
        if programs.major == major and all((programs.folder / name).exists() for name in ("pg_dump", "psql")):
            return programs
    pytest.skip(f"there is no pg_dump of version {major} here")


def contents(url: str) -> list[tuple[Any, ...]]:
    """Every row of the table as the server prints it, in digests."""
    query = (
        "SELECT execution_id, node_id, md5(input::text), md5(input_raw), input_state, input_bytes, md5(_row_hash)"
        " FROM history.step_io ORDER BY 1, 2"
    )
    with psycopg.connect(url) as db:
        return db.execute(query).fetchall()


def test_the_longest_printed_payload_within_the_limit_can_be_read_and_dumped(
    engine: Engine, empty_database_url: str, tmp_path: Path
) -> None:
    numbers = b"1e308,"
    longest = b"[" + numbers * ((LIMIT // 8 - 2) // len(numbers)) + b"0]"
    house(engine, [Animal("numbers of 309 digits", longest, "decoded", longest)])
    with engine.connect() as db:
        printed = db.execute(text("SELECT length(input::text) FROM history.step_io")).scalar_one()
    assert printed > 50 * len(longest)
    source = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    restore(source, empty_database_url, tmp_path / "dump.sql")
    assert contents(empty_database_url) == contents(source)


@pytest.fixture(scope="module")
def session(server: Server) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(server.url, autocommit=True) as session:
        yield session


NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,110})(\.[0-9]{1,110})?([eE][+-]?[0-9]{1,6})?", fullmatch=True)
SIMPLE_NUMBERS = st.from_regex(
    r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?", fullmatch=True
)
ANY_TEXT = st.text(st.characters(codec=None) | st.sampled_from('\x00\ud800\udc00\uffff\\"/u0'), max_size=12)
SOUND_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
WORDS = st.sampled_from(["true", "false", "null"])


def documents(numbers: st.SearchStrategy[str], texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """JSON text, keys sent twice and loose whitespace included."""
    strings = st.builds(json.dumps, texts, ensure_ascii=st.booleans())
    pairs = st.tuples(strings, st.sampled_from([":", " :\t"]))
    return st.recursive(
        numbers | strings | WORDS,
        lambda inner: (
            st.lists(inner, max_size=4).map(lambda items: "[" + ", ".join(items) + "\n]")
            | st.lists(st.tuples(pairs, inner), max_size=4).map(
                lambda members: "{" + ",".join(key + colon + value for (key, colon), value in members) + "}"
            )
        ),
        max_leaves=12,
    )


MANY = settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])


@MANY
@given(documents(SIMPLE_NUMBERS, SOUND_TEXT))
def test_any_sound_document_is_decoded_and_comes_back_digit_by_digit(
    session: psycopg.Connection[Any], sent: str
) -> None:
    packed = json.dumps(gz(sent.encode()).decode()).encode()
    for value in (sent.encode(), packed):
        found = decode_payload(value, limit=LIMIT, redactor=NOTHING_SECRET)
        if sent.startswith('"') or (sent == "null" and value is not packed):
            continue  # text, or taken apart further
        assert (found.state, found.raw) == ("decoded", None)
        assert exact(round_trip(session, found.value)) == exact(sent)


@MANY
@given(documents(NUMBERS, ANY_TEXT), st.sampled_from([bytes, b64, gz]))
@example('{"a":"\\u0000","b":[1e400]}', bytes)
def test_any_document_at_all_leaves_a_copy_that_postgresql_takes_and_gives_back(
    session: psycopg.Connection[Any], sent: str, wrap: Any
) -> None:
    content = wrap(sent.encode(errors="surrogatepass")).decode(errors="surrogatepass")
    assert_stored(session, json.dumps(content).encode())
    assert_stored(session, sent.encode(errors="surrogatepass"))


@MANY
@given(st.binary(max_size=60) | st.text('[]{},:"\\u0dabe1.-NatrufslIy \n').map(str.encode))
def test_any_bytes_at_all_leave_a_copy_that_postgresql_takes_and_gives_back(
    session: psycopg.Connection[Any], sent: bytes
) -> None:
    assert_stored(session, sent)


def assert_stored(session: psycopg.Connection[Any], sent: bytes) -> None:
    """What is kept agrees with the state, and the copy survives the way through jsonb."""
    found = decode_payload(sent, limit=LIMIT, redactor=NOTHING_SECRET)
    assert found.redacted_paths == ()
    assert (found.raw is not None) == (found.state in ("unsafe", "undecodable"))
    assert (found.value is None) == (found.state in ("absent", "undecodable"))
    if found.value is not None:
        assert exact(round_trip(session, found.value)) == exact(found.value)


def round_trip(session: psycopg.Connection[Any], value: bytes | None) -> str:
    assert value is not None
    row = session.execute("SELECT %s::jsonb::text", (value.decode(),)).fetchone()
    assert row is not None
    text: str = row[0]
    return text
