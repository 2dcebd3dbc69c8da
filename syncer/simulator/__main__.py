"""`python -m syncer.simulator`: a platform on this machine until it is interrupted.

Invariant: one JSON line on standard output says where it listens and what it accepts, then nothing more. It
must not know what the simulator does.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from dataclasses import asdict

from syncer.simulator import KINDS, Outline, Tenant, mixture
from syncer.simulator.platforms import simulated


def main() -> int:
    asked = _parser().parse_args()
    outline = Outline(
        seed=asked.seed,
        workflows=asked.workflows,
        executions=asked.executions,
        steps=asked.steps,
        days=asked.days,
        running=asked.running,
    )
    platform = simulated()[asked.platform]
    switches = dict(_reading(platform.SWITCHES, *each) for each in asked.switch)
    simulator = platform.Simulator(
        outline, switches=platform.Switches(**switches, rate_limit=asked.rate_limit)
    )
    if asked.faults:
        simulator.misbehave({"*": mixture(asked.faults)}, seed=asked.seed)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with simulator.serve(asked.port) as url:
        sys.stdout.write(json.dumps({"url": url, **asdict(simulator.credentials)}) + "\n")
        sys.stdout.flush()
        while not stop.wait(asked.every):
            _live_on(simulator)
    return 0


def _live_on(simulator: Tenant) -> None:
    """What ran ends, and something new begins in the workflow that waited longest."""
    simulator.end_all_running()
    at = len(simulator.truth.executions) % len(simulator.truth.workflows)
    simulator.add_execution(list(simulator.truth.workflows)[at], status="Running")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m syncer.simulator", description="A simulated platform.")
    usual, platforms = Outline(), simulated()
    windows = ", ".join(f"{each.Switches().rate_window:g} s ({name})" for name, each in platforms.items())
    parser.add_argument("--platform", choices=platforms, default=next(iter(platforms)))
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--seed", type=int, default=usual.seed, help="of the history and of the faults")
    parser.add_argument("--workflows", type=int, default=usual.workflows)
    parser.add_argument("--executions", type=int, default=usual.executions, help="of each workflow")
    parser.add_argument("--steps", type=int, default=usual.steps, help="nodes that run in an execution")
    parser.add_argument("--days", type=float, default=usual.days, help="how far the history goes back")
    parser.add_argument("--running", type=int, default=usual.running, help="executions still running")
    parser.add_argument("--rate-limit", type=_count, help=f"requests in {windows}; 0: none at all")
    parser.add_argument(
        "--every", type=float, metavar="SECONDS", help="end what runs and begin anew so often"
    )
    parser.add_argument(
        "--faults",
        type=_rate,
        default=0.0,
        metavar="RATE",
        help="part of the answers that go wrong, such as 0.05, in every way there is: " + ", ".join(KINDS),
    )
    parser.add_argument(
        "--switch",
        type=_switch,
        action="append",
        default=[],
        metavar="NAME=READING",
        help="another reading of the documents; a name that is none shows them all",
    )
    return parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is no number of requests")
    return int(text)


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no part of the answers: a number from 0 to 1")
    return rate


def _switch(text: str) -> tuple[str, str]:
    name, _, wanted = text.partition("=")
    return name, wanted.lower()


def _reading(known: dict[str, tuple[object, ...]], name: str, wanted: str) -> tuple[str, object]:
    """The reading of a switch that was asked for; ends the program where the platform has none like it."""
    readings = {str(reading).lower(): reading for reading in known.get(name, ())}
    if wanted not in readings:
        _parser().error(
            f"argument --switch: {name} must be one of {', '.join(readings)}"
            if readings
            else f"argument --switch: {name or 'nothing'} is none of {', '.join(known)}"
        )
    return name, readings[wanted]


if __name__ == "__main__":
    sys.exit(main())
