"""Huawei Cloud SecMaster, simulated from its documents, with the IAM that lets one in.

Invariant: nothing here is written from what a client expects. It must not know that other platforms exist;
what they share (clock, truth, history, server) stands one folder up.
"""

from __future__ import annotations

from syncer.simulator.secmaster.gate import Credentials
from syncer.simulator.secmaster.simulator import Simulator
from syncer.simulator.secmaster.switches import SWITCHES, Switches

__all__ = ["SWITCHES", "Credentials", "Simulator", "Switches"]
