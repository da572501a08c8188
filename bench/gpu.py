"""Time fastnn on a GPU, beside the GPU's own limits and other libraries.

    python bench/gpu.py                      # everything; prints tables
    python bench/gpu.py --write              # also bench/results/gpu-NAME.json and .md
    python bench/gpu.py --write FOLDER       # ... into that folder
    python bench/gpu.py --only 784           # the workloads with this in their name
    python bench/gpu.py --quick              # tiny sizes, to see that everything runs and agrees
    python bench/gpu.py --simulate           # the same in numba-cuda's simulator, without a GPU
    python bench/gpu.py --report FILE.json   # print the tables of an earlier run

From the root of the repository, with numba-cuda; PyTorch, JAX and CuPy are left out where they are
not installed, and that is said. ``gpu_workloads.py`` tells what is timed, what it needs at least
and what it is to reach. Every entrant's result is compared with one in float64 before it is timed.
Exit codes: 0, everything ran and agreed, whether or not targets were reached; 1, no GPU, or a
result was wrong; 2, a wrong call.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# fastnn as it stands here, whether installed or not.
sys.path[:0] = [str(HERE), str(HERE.parent)]

RESULTS = HERE / "results"
PACKAGES = ("numba", "numba-cuda", "cuda-bindings", "numpy")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", default="", metavar="NAME", help="workloads named like this")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, few rounds")
    parser.add_argument("--simulate", action="store_true", help="in the simulator; implies --quick")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to keep the figures")
    parser.add_argument("--report", type=Path, metavar="FILE", help="print these figures")
    parser.add_argument(
        "--write", nargs="?", const=RESULTS, type=Path, metavar="FOLDER",
        help="keep figures and tables in a folder (default: bench/results)",
    )  # fmt: skip
    return parser


def machine() -> dict[str, str]:
    """Return what the figures depend on."""
    from fastnn import cuda_driver

    return {
        "gpu": cuda_driver.gpus()[0],
        "driver": _driver_version(),
        "packages": ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        "python": platform.python_version(),
        "system": platform.platform(),
        "date": time.strftime("%Y-%m-%d"),
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _driver_version() -> str:
    """Return the version of NVIDIA's driver, of the first GPU that is listed."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.split("\n")[0].strip()


def _tell(text: str) -> None:
    """Show what is being done, where somebody watches."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def measure(only: str, *, quick: bool) -> dict[str, Any]:
    """Time the workloads whose name contains ``only``; the GPU must be there."""
    import gpu_timing
    from fastnn import cuda_driver
    from gpu_entrants import entrants
    from gpu_race import race
    from gpu_workloads import WORKLOADS

    chosen = [work for work in WORKLOADS if only.lower() in work.name.lower()]
    if not chosen:
        raise SystemExit(f"no workload's name contains {only!r}")
    os.environ["FASTNN_DEVICE"] = "cuda"
    found: dict[str, Any] = {
        "machine": machine(),
        "quick": quick,
        "simulated": cuda_driver.simulated(),
        "entrants": {},
        "rows": [],
    }
    print(found["machine"]["gpu"], flush=True)
    present = []
    for entrant in entrants():
        reason = entrant.missing("cuda")
        found["entrants"][entrant.name] = (
            {"absent": reason} if reason else {"version": entrant.version()}
        )
        if reason is None:
            present.append(entrant)
        print(f"{entrant.name}: {found['entrants'][entrant.name]}", flush=True)
    _tell("the GPU's limits")
    import gpu_ceilings

    found["ceilings"] = gpu_ceilings.measure(gpu_timing.clock(), quick=quick)
    for work in chosen:
        row = race(work.reduced() if quick else work, present, "cuda", quick=quick, tell=_tell)
        _tell("")
        found["rows"].append(row)
        _show(row)
    return found


def _show(row: dict[str, Any]) -> None:
    """Print a row as soon as it is there: a run that is cut short has told what it knew."""
    from gpu_race import median
    from report import seconds

    told = [f"{name} {seconds(median(row, name) or 0.0)}" for name in row["seconds"]]
    print(f"{row['name']}, per {row['unit']}: {', '.join(told) or 'nobody'}", flush=True)
    for name, reason in row["reasons"].items():
        print(f"  {name}: {reason}", flush=True)


def write(found: dict[str, Any], folder: Path) -> Path:
    """Keep the figures and the tables; return the file of the tables."""
    from gpu_table import document

    if found["quick"]:
        raise SystemExit("these are the figures of a quick run, which are not kept")
    name = found["machine"]["gpu"].split(",")[0].lower()
    base = folder / f"gpu-{re.sub('[^a-z0-9]+', '-', name).strip('-')}"
    folder.mkdir(parents=True, exist_ok=True)
    base.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    page = base.with_suffix(".md")
    page.write_text(f"# fastnn on a GPU\n\nWritten by `bench/gpu.py`.\n\n{document(found)}\n")
    return page


def main(arguments: Sequence[str] | None = None) -> int:
    """Time what is asked for, or show what was timed; return the exit code."""
    options = _parser().parse_args(arguments)
    if options.simulate:
        os.environ["NUMBA_ENABLE_CUDASIM"] = "1"
    quick = options.quick or options.simulate
    if options.write and quick:
        _parser().error("--write keeps the figures of whole runs, not of --quick or --simulate")

    from gpu_table import document

    if options.report:
        print(document(json.loads(options.report.read_text())))
        return 0
    from fastnn import cuda_driver

    if (reason := cuda_driver.missing()) is not None:
        print(f"nothing can be measured: {reason} Or try the code with --simulate.")
        return 1
    found = measure(options.only, quick=quick)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    if options.write:
        print(f"written to {write(found, options.write)}")
    print(f"\n{document(found)}")
    return 1 if any(row["wrong"] for row in found["rows"]) else 0


if __name__ == "__main__":
    sys.exit(main())
