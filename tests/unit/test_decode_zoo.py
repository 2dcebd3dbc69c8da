"""Every animal of the zoo becomes what it should, and what is stored of it is fit for jsonb."""

from __future__ import annotations

import pytest

from syncer.decode.payload import decode_payload
from syncer.decode.redact import Redactor
from tests.zoo import LIMIT, Animal, animals, exact

ZOO = [*animals()]
REDACTOR = Redactor(["password", "secret", "token"])


@pytest.mark.parametrize("animal", ZOO, ids=lambda animal: animal.name)
def test_every_animal_of_the_zoo_becomes_what_it_should(animal: Animal) -> None:
    found = decode_payload(animal.sent, limit=LIMIT, redactor=REDACTOR)
    assert found.state == animal.state
    assert (found.value is None) == (animal.stored is None)
    if found.value is not None and animal.stored is not None:
        assert exact(found.value) == exact(animal.stored)
        assert b"\\u0000" not in found.value.replace(b"\\\\", b"")
    assert found.raw == animal.raw
    assert found.redacted_paths == ()


def test_no_two_animals_have_one_name() -> None:
    names = [animal.name for animal in ZOO]
    assert len(names) == len(set(names))
