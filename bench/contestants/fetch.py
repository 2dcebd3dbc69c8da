"""The floor of reading: every body is received, and nothing is done with it.

Invariant: what is parsed of it is what must be known to ask on: ids.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode, urlsplit

from bench.contestants.wire import CONCURRENCY, PAGE, SOURCE, sign_in

ADDRESS = urlsplit(SOURCE)


class Line:
    """One connection, kept alive; one request at a time."""

    token = ""

    async def open(self) -> Line:
        self._reader, self._writer = await asyncio.open_connection(
            ADDRESS.hostname, ADDRESS.port, limit=1 << 20
        )
        return self

    async def get(self, target: str) -> bytes:
        """The body of the answer."""
        head = (
            f"GET {target} HTTP/1.1\r\nHost: {ADDRESS.netloc}\r\nAuthorization: Bearer {self.token}\r\n\r\n"
        )
        self._writer.write(head.encode())
        answer = await self._reader.readuntil(b"\r\n\r\n")
        status, length = answer.split(b" ", 2)[1], answer.partition(b"Content-Length: ")[2].split(b"\r\n")[0]
        read = await self._reader.readexactly(int(length))
        if status != b"200":
            raise SystemExit(f"{target}: {status.decode()} {read[:200]!r}")
        return read

    async def items(self, path: str) -> AsyncIterator[list[Any]]:
        """Page by page."""
        number = 1
        while True:
            query = urlencode({"pageSize": PAGE, "pageNumber": number, "order": "createdAt"})
            found = json.loads(await self.get(f"{path}?{query}"))["items"]
            yield found
            if len(found) < PAGE:
                return
            number += 1


async def main() -> None:
    Line.token = sign_in()
    lines = await asyncio.gather(*(Line().open() for _ in range(CONCURRENCY)))
    workflows = [each["id"] async for page in lines[0].items("/qflowapi/v1/workflows") for each in page]
    wanted: list[str] = []

    async def listed(line: Line) -> None:
        while workflows:
            async for page in line.items(f"/qflowapi/v1/workflows/{workflows.pop()}/executions"):
                wanted.extend(execution["id"] for execution in page)

    async def read(line: Line) -> None:
        while wanted:
            await line.get(f"/qflowapi/v1/executions/{wanted.pop()}/steps?includeData=true&order=createdAt")

    for work in (listed, read):
        await asyncio.gather(*map(work, lines))


if __name__ == "__main__":
    asyncio.run(main())
