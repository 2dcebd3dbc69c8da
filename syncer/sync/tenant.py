"""What all work on one connection shares in a process: the source, the way to the warehouse, what is held."""

from __future__ import annotations

import asyncio

from msgspec import Struct, field

from syncer.config import Connection
from syncer.encode import Encoder
from syncer.http import Gate
from syncer.sources import Source
from syncer.state import leases
from syncer.state.leases import LeaseKey
from syncer.sync.hints import Hints
from syncer.writer import Writer

ROOM = 200
"""Executions whose steps wait to be written, in all connections of a process: 100 KB each with payloads of 4 KB."""


def new_room() -> asyncio.Semaphore:
    """Room for the executions of a process whose steps wait to be written."""
    return asyncio.Semaphore(ROOM)


class Tenant(Struct, frozen=True, kw_only=True):
    """One connection with what reads it, what writes it, and what says when; `noted_facts` stand in the warehouse.

    `room` is for executions whose steps wait to be written; all tenants of a process share it.
    """

    connection: Connection
    source: Source
    gate: Gate
    writer: Writer
    encoder: Encoder
    room: asyncio.Semaphore
    hints: Hints = field(default_factory=Hints)
    noted_facts: dict[str, str] = field(default_factory=dict)
    owner: str = field(default_factory=leases.new_owner)
    held: set[LeaseKey] = field(default_factory=set)

    async def close(self) -> None:
        """Give the source's connections back, and wait for the transaction at hand."""
        await self.source.close()
        await self.writer.close()
