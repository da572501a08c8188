"""Run every kernel under NVIDIA's compute-sanitizer: what neither results nor the simulator show.

    python tools/sanitize.py                         # all four tools
    python tools/sanitize.py memcheck racecheck      # these
    python tools/sanitize.py -- -k "fit and Adam"    # other arguments for pytest

memcheck finds accesses outside of memory, racecheck threads of a block that meet in shared memory
without a barrier, synccheck barriers that not all threads reach, initcheck reads of memory that
nothing wrote. What is run is ``tests/gpu/test_gpu_once.py``: each kernel a few times, since a
kernel takes ten to a hundred times as long here.

compute-sanitizer is looked for on PATH, in CUDA_HOME and CUDA_PATH, in /usr/local/cuda, and in the
wheels nvidia-cuda-sanitizer-api (CUDA 13) and nvidia-cuda-sanitizer-api-cu12. Exit codes: 0, no
tool found anything, or nothing could be run, and why is said; 1, a tool found something, or a test
failed; 2, a wrong call.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
TESTS = "tests/gpu/test_gpu_once.py"
NAME = "compute-sanitizer"

# The exit code that the tools are asked for where they find something; pytest has none like it.
FOUND = 99

OPTIONS = {
    # numba-cuda raises what the driver answers. Calls by which libraries only learn what a driver
    # can do would be counted as errors here. Padding lies behind each allocation, so that what
    # reads beyond one does not read the next.
    "memcheck": ["--report-api-errors", "no", "--padding", "256"],
    "racecheck": [],
    "synccheck": [],
    "initcheck": [],
}


class Result(NamedTuple):
    tool: str
    verdict: str
    passed: bool
    summary: str
    tests: str
    seconds: float


def places(variables: Mapping[str, str], packages: Sequence[str]) -> Iterator[Path]:
    """Yield where the program may be, the likeliest first."""
    for folder in variables.get("PATH", "").split(os.pathsep):
        if folder:
            yield Path(folder) / NAME
    homes = [variables.get(name) for name in ("CUDA_HOME", "CUDA_PATH")]
    for home in [*filter(None, homes), "/usr/local/cuda"]:
        for inside in ("bin", "compute-sanitizer", "extras/compute-sanitizer"):
            yield Path(home) / inside / NAME
    for folder in packages:
        for inside in ("cu13/bin", "cu13/compute-sanitizer", "cuda_sanitizer_api/bin"):
            yield Path(folder) / "nvidia" / inside / NAME


def find(variables: Mapping[str, str], packages: Sequence[str]) -> Path | None:
    """Return the first of these places where there is such a program."""
    found = (path for path in places(variables, packages) if shutil.which(path))
    return next(found, None)


def missing(program: Path | None) -> str | None:
    """Return why nothing can be run, or None."""
    sys.path.insert(0, str(ROOT))
    from fastnn import cuda_driver

    if cuda_driver.simulated():
        return "NUMBA_ENABLE_CUDASIM is set: the simulator has no kernels to look into"
    if (reason := cuda_driver.missing()) is not None:
        return reason
    if program is None:
        return f"{NAME} was not found: pip install nvidia-cuda-sanitizer-api, or set CUDA_HOME"
    return None


def command(program: Path, tool: str, arguments: Sequence[str]) -> list[str]:
    """Return the command line of one tool."""
    told = ["--tool", tool, "--error-exitcode", str(FOUND), "--print-limit", "20", *OPTIONS[tool]]
    tests = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider"]
    return [str(program), *told, *tests, *(arguments or [TESTS])]


def judge(tool: str, code: int, output: str, seconds: float) -> Result:
    """Return what a run's exit code and output say."""
    summaries = re.findall(r"^=+ (?:ERROR|RACECHECK) SUMMARY: (.*)$", output, re.MULTILINE)
    tests = re.findall(
        r"^(?:=+ )?(\d+ (?:passed|failed|skipped|error).*? in [\d.]+s)", output, re.M
    )
    summary, told = (found[-1] if found else "none" for found in (summaries, tests))
    clean = bool(re.match(r"0 (errors|hazards)", summary))
    if code == 0 and clean and "passed" in told:
        verdict = "clean"
    elif code == 0 and clean:
        verdict = "NO TEST RAN"
    elif summaries and not clean:
        verdict = "FOUND SOMETHING"
    elif re.search(r"\d+ (failed|error)", told):
        verdict = "TESTS FAILED"
    else:
        verdict = f"DID NOT RUN, exit code {code}"
    return Result(tool, verdict, verdict == "clean", summary, told, seconds)


def table(results: Sequence[Result]) -> str:
    """Return the results, one a line."""
    rows = [("tool", "verdict", "what it says", "tests", "time")]
    rows += [(r.tool, r.verdict, r.summary, r.tests, f"{r.seconds:.0f} s") for r in results]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def run(program: Path, tool: str, arguments: Sequence[str]) -> Result:
    """Run the tests under one tool, showing what it says as it says it."""
    line = command(program, tool, arguments)
    print(f"\n+ {' '.join(line)}", flush=True)
    begin = time.perf_counter()
    with subprocess.Popen(
        line,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        said = []
        for text in process.stdout:
            print(text, end="", flush=True)
            said.append(text)
    return judge(tool, process.returncode, "".join(said), time.perf_counter() - begin)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tools that are asked for; return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    cut = given.index("--") if "--" in given else len(given)
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("tools", nargs="*", metavar="TOOL", help=f"of {', '.join(OPTIONS)}")
    chosen = parser.parse_args(given[:cut]).tools
    for tool in chosen:
        if tool not in OPTIONS:
            parser.error(f"unknown tool {tool!r}; known are {', '.join(OPTIONS)}")
    program = find(os.environ, sys.path)
    if (reason := missing(program)) is not None:
        print(f"skipped: {reason}")
        return 0
    assert program is not None
    results = [run(program, tool, given[cut + 1 :]) for tool in chosen or OPTIONS]
    print(f"\n{program}\n\n{table(results)}")
    return 0 if all(result.passed for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
