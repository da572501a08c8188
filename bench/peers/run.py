"""Time fastnn beside the libraries that people would use instead.

    python bench/peers/run.py                      # everything, some ten minutes
    python bench/peers/run.py --quick              # small, to see that all run and agree
    python bench/peers/run.py --only 784           # the workloads with this in their name
    python bench/peers/run.py --json peers.json    # ... and keep the figures
    python bench/peers/run.py --report peers.json [--write]   # nothing is timed: table and chart

From the root of the repository, with ``pip install -e ".[bench,peers]"``; a peer that is absent
is left out, and that is said.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# fastnn as it stands here, whether installed or not, and the pieces shared with bench/.
sys.path[1:1] = [str(HERE.parent.parent), str(HERE.parent)]

# Before any peer is imported: JAX would look for accelerators, and says so when it finds none.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import limits  # noqa: E402
import publish  # noqa: E402
from entrant import THREADS, Entrant, entrants  # noqa: E402
from timing import DisagreementError, race  # noqa: E402
from workloads import WORKLOADS, Workload  # noqa: E402

_QUICKLY_COMPILED = [((2, 4, 1), "fit"), ((24, 8, 2), "gradient"), ((32, 64, 64, 1), "query")]


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    import numba

    return {
        "brand": _brand(),
        "threads": THREADS,
        "python_version": platform.python_version(),
        "numba": numba.__version__,
        "system": platform.platform(),
        "date": time.strftime("%Y-%m-%d"),
    }


def _brand() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _tell(text: str) -> None:
    """Show what is being done, where somebody watches."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _left_out(entrant: Entrant, work: Workload, quick: bool) -> bool:
    # PyTorch takes some seconds to compile each step: in a minute there is time for a few.
    told = work.sizes, work.kind
    return quick and entrant.name == "PyTorch compiled" and told not in _QUICKLY_COMPILED


def measure(only: str, *, quick: bool) -> dict[str, Any]:
    """Time all workloads whose name contains ``only``."""
    chosen = [work for work in WORKLOADS if only.lower() in work.name.lower()]
    if not chosen:
        raise SystemExit(f"no workload's name contains {only!r}")
    found: dict[str, Any] = {"machine": machine(), "quick": quick, "entrants": {}, "rows": []}
    present = []
    for entrant in entrants():
        reason = entrant.available()
        told = {"absent": reason} if reason else {"version": entrant.version()}
        found["entrants"][entrant.name] = told
        if reason is None:
            present.append(entrant)
        print(f"{entrant.name}: {f'absent: {reason}' if reason else told['version']}")
    print(f"{THREADS} threads, where a library can use them")
    found["limits"] = limits.measure(quick=quick)
    print(limits.told(found["limits"]))
    for work in chosen:
        work = work.reduced() if quick else work
        racing = [entrant for entrant in present if not _left_out(entrant, work, quick)]
        rounds, shortest = (2, 0.002) if quick else (7, 0.02)
        _tell(work.name)
        row = race(work, racing, rounds=rounds, shortest=shortest, choose=not quick, tell=_tell)
        _tell("")
        found["rows"].append(row)
        print(publish.line(row), flush=True)
    return found


def main() -> None:
    """Time what is asked for, or publish what was timed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few examples, few rounds")
    parser.add_argument("--only", default="", metavar="NAME", help="workloads named like this")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to keep the figures")
    parser.add_argument("--report", type=Path, metavar="FILE", help="publish these figures")
    parser.add_argument("--write", action="store_true", help="update both READMEs, the chart")
    options = parser.parse_args()
    if options.report:
        publish.report(json.loads(options.report.read_text()), write=options.write)
        return
    if options.write:
        parser.error("--write needs --report FILE")
    try:
        found = measure(options.only, quick=options.quick)
    except DisagreementError as error:
        raise SystemExit(f"error: {error}") from None
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    print()
    publish.report(found, write=False)


if __name__ == "__main__":
    main()
