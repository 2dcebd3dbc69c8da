"""Text fit for PostgreSQL, and messages without what varies."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer.decode.text import FINGERPRINT_LENGTH, fingerprint, repair

ANY_TEXT = st.text(st.characters(codec=None) | st.sampled_from("\x00\ud800\udfffé😀"))


def test_clean_text_comes_back_as_the_same_object() -> None:
    for text in ("", "plain", "Ünïcode 😀 \ufffd \uffff\x7f\x01"):
        assert repair(text) is text


def test_nul_and_lone_surrogates_become_replacement_characters() -> None:
    assert repair("a\x00b\ud800c\udfffd") == "a\ufffdb\ufffdc\ufffdd"


@given(ANY_TEXT)
def test_repaired_text_can_be_stored_and_keeps_its_other_characters(text: str) -> None:
    mended = repair(text)
    mended.encode()
    assert "\x00" not in mended
    assert len(mended) == len(text)
    assert all(b in (a, "\ufffd") for a, b in zip(text, mended, strict=True))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Instance i-0663d3f3e572608d5 not found", "Instance not found"),
        ("sg-12ab34cd and vpc-0a1b2c refused", "and refused"),
        ("Execution 0e72b4a1-abea-45b2-9ae9-91cd87506404 failed", "Execution failed"),
        ("arn:aws:iam::123456789012:user/bob is not authorized", "is not authorized"),
        ("Timeout after 30 seconds", "Timeout after seconds"),
        ("Got 12.5% of 1,234,567 in -3", "Got of in"),
        ("at 2025-05-12T01:45:36.220Z it broke", "at it broke"),
        ("at 2025-05-12 01:45:36 it broke", "at it broke"),
        ("at Mon, 12 May 2025 01:45:36 GMT it broke", "at it broke"),
        ("at May 12, 2025 it broke", "at it broke"),
        ("at 12:30 it broke", "at it broke"),
        ("No workflow named 'Stop RDS 5' here", "No workflow named here"),
        ('No workflow named "Stop \\"RDS\\"" here', "No workflow named here"),
        ("""Bad input '{"id": "x", "n": [1]}' given""", "Bad input given"),
        ("""Bad input "{\\"id\\": \\"x\\"}" given""", "Bad input given"),
        ("Token abcdefghijklmno1 expired", "Token expired"),
        ("Token abcdefghijklmnop expired", "Token abcdefghijklmnop expired"),
        ("10.0.0.1:8080 unreachable", "unreachable"),
        ("  too \t many\n\nblanks  ", "too many blanks"),
        ("S3, EC2 and IPv4 are names", "S3, EC2 and IPv4 are names"),
        ("can't read the owner's file", "can't read the owner's file"),
        ("", ""),
    ],
)
def test_what_varies_is_taken_out_of_a_message(message: str, expected: str) -> None:
    assert fingerprint(message) == expected


def test_a_quoted_value_goes_even_where_its_end_was_cut_off() -> None:
    assert fingerprint('Refused: "' + "secret words " * 5_000 + '" sorry') == "Refused:"


@given(st.uuids(), st.integers(0, 10**12), st.datetimes())
def test_failures_that_differ_in_ids_alone_share_a_fingerprint(
    uuid: object, number: int, when: object
) -> None:
    assert fingerprint(f"Step {uuid} of run {number} failed at {when}.") == "Step of run failed at ."


@given(ANY_TEXT)
def test_a_fingerprint_is_short_and_folded(message: str) -> None:
    found = fingerprint(message)
    assert len(found) <= FINGERPRINT_LENGTH
    assert found == " ".join(found.split())
    assert not re.search(r"[A-Za-z0-9_-]*\d{3,}[A-Za-z0-9_-]*", found)


@pytest.mark.parametrize(
    "unit", ["'\\", '"\\', "'", "'a", "1-", "a-", "a-aaaaa ", "1 ", "-", "{", "mon ", "1:1", "`"]
)
def test_of_a_hostile_megabyte_only_the_beginning_is_read(unit: str) -> None:
    hostile = unit * (1_000_000 // len(unit))
    assert fingerprint(hostile) == fingerprint(hostile[:20_000])


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Task 1 failed and reason: 'QID 14552 not found in knowledge base'",
         "Task failed and reason: QID not found in knowledge base"),
        ("""Task failed and reason: '{"failed":[{"id":"web-1","error":"No right to stop i-0663d3f3e572608d5 now"}]}'""",
         "Task failed and reason: No right to stop now"),
        ("""reason: '{"failed":[{"error":"No right to stop it: 9OV9AWBXa9QNCb4YFYstSlf25'""",
         "reason: No right to stop it:"),
        ("Unknown region: 'us-east-1'", "Unknown region:"),
        ("Policy 'Stop all idle hosts' failed", "Policy failed"),
        ('{"failed":[{"error":"You are not authorized to stop i-0663d3f3e572608d5 of arn:aws:ec2:us-east-1:9:x"',
         "You are not authorized to stop of"),
        ('"disk full on 10.0.0.7"', "disk full on"),
    ],
)  # fmt: skip
def test_a_quoted_sentence_that_is_the_reason_is_kept(message: str, expected: str) -> None:
    assert fingerprint(message) == expected
