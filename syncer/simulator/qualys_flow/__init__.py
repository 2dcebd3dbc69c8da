"""Qualys Flow, simulated from its documents.

Invariant: nothing here is written from what a client expects. It must not know that other platforms exist;
what they share (clock, truth, history, server) stands one folder up.
"""

from __future__ import annotations

from syncer.simulator.qualys_flow.gate import Credentials
from syncer.simulator.qualys_flow.simulator import Simulator
from syncer.simulator.qualys_flow.switches import SWITCHES, Switches

__all__ = ["SWITCHES", "Credentials", "Simulator", "Switches"]
