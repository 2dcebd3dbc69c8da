"""The data dictionary says what the database says, and nothing is left without a meaning."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Table

from syncer import dictionary, schema
from syncer.warehouse import views

DOCUMENT = Path(__file__).parents[2] / "docs" / "data-dictionary.md"


def test_the_document_in_the_repository_is_current() -> None:
    assert DOCUMENT.read_text("utf-8") == dictionary.dictionary()


@pytest.mark.parametrize("table", schema.metadata.tables.values(), ids=lambda table: table.fullname)
def test_every_table_and_column_says_what_it_means(table: Table) -> None:
    assert table.comment
    assert [column.name for column in table.columns if not column.comment] == []


@pytest.mark.parametrize("name", views())
def test_every_view_begins_with_what_it_is_and_has_a_section(name: str) -> None:
    first = next(iter(dictionary.comments(views()[name])))
    assert first == name
    assert f"### {name}\n" in dictionary.dictionary()


def test_a_column_of_the_daemon_is_not_listed() -> None:
    assert "_row_hash" not in dictionary.dictionary()


def test_a_quote_in_a_comment_is_shown_once_and_a_bar_does_not_end_the_cell() -> None:
    assert dictionary.comments("COMMENT ON VIEW history.v IS 'it''s';\n") == {"v": "it's"}
    assert dictionary._row(("a|b", "c")) == "| a\\|b | c |"


def test_check_passes_only_the_current_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = tmp_path / "dictionary.md"
    assert dictionary.main(["--check", str(document)]) == 1
    assert "run `python -m syncer.dictionary > " in capsys.readouterr().err
    assert dictionary.main([]) == 0
    document.write_text(capsys.readouterr().out, "utf-8")
    assert dictionary.main(["--check", str(document)]) == 0
    document.write_text(document.read_text("utf-8") + " ", "utf-8")
    assert dictionary.main(["--check", str(document)]) == 1


def test_an_unknown_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert dictionary.main(["--chek"]) == 2
    assert capsys.readouterr().err.startswith("usage:")
