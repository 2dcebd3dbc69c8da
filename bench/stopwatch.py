"""Run a command and write down what it took: `python -I -S stopwatch.py FILE COMMAND...`.

Invariant: it imports next to nothing. The peak memory that the system tells of a process counts whoever started it, so
who starts it must be small. Of several processes of a command, times are added and the largest one's memory is told.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

began = time.perf_counter()
code = subprocess.call(sys.argv[2:])
wall = time.perf_counter() - began
used = resource.getrusage(resource.RUSAGE_CHILDREN)
taken = {"code": code, "wall": wall, "cpu": used.ru_utime + used.ru_stime, "peak_kb": used.ru_maxrss}
Path(sys.argv[1]).write_text(json.dumps(taken), encoding="ascii")
