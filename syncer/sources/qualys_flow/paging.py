"""How to ask for a page: the form of the parameters and the size, found out by asking.

Invariant: a form that has once been answered is kept; only an answer too large makes it smaller afterwards.
The parameter tables say pageSize and pageNumber, the samples limit and page, release 1.18 pageSize and
offset, and no document tells the largest size (docs/qualys-flow.md, Lists and paging).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from syncer.decode.answer import Listing, parse_items
from syncer.errors import ContractError
from syncer.http import Client, Refused, TooLarge

SMALLEST = 10
"""A page this small is not too large for any server: a refusal has another reason."""


class Form(NamedTuple):
    """What the parameters are called, and how many records to ask for."""

    size_name: str
    number_name: str
    size: int

    def query(self, page: int) -> list[tuple[str, str]]:
        """The parameters of a page, counted from 1."""
        number = (page - 1) * self.size if self.number_name == "offset" else page
        return [(self.size_name, str(self.size)), (self.number_name, str(number))]


class Lists:
    """Asks for pages of lists in the form the server understands."""

    def __init__(self, client: Client, page_size: int) -> None:
        self._client = client
        self._form = Form("pageSize", "pageNumber", page_size)
        self._is_settled = False

    @property
    def page_size(self) -> int:
        """Records asked for in a page."""
        return self._form.size

    @property
    def dialect(self) -> str:
        """Which parameters the server understands."""
        form = self._form
        how = f"{form.size_name} and {form.number_name}, {form.size} rows a page"
        return how if self._is_settled else f"{how}; not tried yet"

    async def page(self, path: str, endpoint: str, page: int, query: list[tuple[str, str]]) -> Listing:
        """One page of the list at the path."""
        refusal: ContractError | None = None
        for form in self._forms():
            try:
                listing = await self._client.get(
                    path, form.query(page) + query, endpoint=endpoint, parse=parse_items
                )
            except TooLarge as error:
                refusal = refusal or error
            except Refused as error:
                if error.status != 400 or self._is_settled:
                    raise
                refusal = refusal or error
            else:
                self._form, self._is_settled = form, True
                return listing
        assert refusal is not None
        raise refusal

    def _forms(self) -> Iterator[Form]:
        """The form in use, then smaller pages, then other names as long as none is known to work."""
        known = form = self._form
        yield form
        while form.size > SMALLEST:
            form = form._replace(size=form.size // 2)
            yield form
        if not self._is_settled:
            yield known._replace(size_name="limit", number_name="page")
            yield known._replace(number_name="offset")
