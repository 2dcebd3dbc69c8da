"""A fixed piece of work of the kind that copying is made of: how fast is this machine, at this minute?

    python -m bench.yardstick      milliseconds of processor for each round

Invariant: it never changes and uses nothing of syncer's, or what was compared with it could not be compared any more.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import zlib

ROUNDS = 1000
DOCUMENT = {f"key-{at}": [at, at / 7, f"value {at * at}", {"nested": [None, True]}] for at in range(60)}
"""About 4 KB of JSON."""


def milliseconds() -> float:
    """Measured in a process of its own, which has nothing else to do."""
    told = subprocess.check_output([sys.executable, "-I", __file__], text=True)
    return float(told)


def work() -> int:
    """A document is packed, unpacked, taken apart and counted."""
    text = zlib.decompress(zlib.compress(json.dumps(DOCUMENT).encode()))
    return sum(len(key) + sum(map(len, map(str, value))) for key, value in json.loads(text).items())


def main() -> None:
    began = time.process_time()
    for _ in range(ROUNDS):
        work()
    print(1000 * (time.process_time() - began) / ROUNDS)


if __name__ == "__main__":
    main()
