"""SailPoint Identity Security Cloud workflows, simulated from their documents.

Invariant: nothing here is written from what a client expects. It must not know that other platforms exist;
what they share (clock, truth, history, server) stands one folder up.
"""

from __future__ import annotations

from syncer.simulator.sailpoint.gate import Credentials
from syncer.simulator.sailpoint.simulator import Simulator
from syncer.simulator.sailpoint.switches import SWITCHES, Switches

__all__ = ["SWITCHES", "Credentials", "Simulator", "Switches"]
