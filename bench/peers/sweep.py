"""Width by batch: where a peer overtakes fastnn.

    python bench/peers/sweep.py                   # widths and batches up to 1024, some minutes
    python bench/peers/sweep.py --quick           # a few of each, few examples
    python bench/peers/sweep.py --json FILE       # ... and keep the figures
    python bench/peers/sweep.py --report FILE     # draws what was kept

A network with two hidden layers, n-n-n-1, ReLU, float32, trained by plain gradient descent: the
time of an example, in an epoch of some batches. Drawn to bench/results/sweep.svg, or ``--svg``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import run  # first: it makes the others importable
from entrant import THREADS, entrants
from publish import BENCH, best, medians
from report import seconds
from timing import DisagreementError, race
from workloads import Workload

ENTRANTS = ("fastnn", "NumPy", "PyTorch", "JAX")
WIDTHS, BATCHES = (8, 32, 128, 512, 1024), (16, 128, 1024)
# Operations of an epoch: enough that a call's own cost is small, few enough to be patient.
_WORK = 5e8


def workload(width: int, batch: int, *, quick: bool) -> Workload:
    sizes = (width, width, width, 1)
    one = Workload("fit", sizes, "relu", "binary_cross_entropy", batch, batch, rate=0.001)
    steps = max(2, min(2 if quick else 4096, int(_WORK / one.operations)))
    return Workload("fit", sizes, "relu", one.loss, steps * batch, batch, rate=0.001)


def measure(*, quick: bool) -> dict[str, Any]:
    """Time every pair of sizes."""
    racing = [e for e in entrants() if e.name in ENTRANTS and e.available() is None]
    widths, batches = (WIDTHS[::2], BATCHES[:2]) if quick else (WIDTHS, BATCHES)
    found: dict[str, Any] = {"machine": run.machine(), "widths": widths, "batches": batches}
    found |= {"quick": quick, "rows": []}
    print(f"{', '.join(e.name for e in racing)}; {THREADS} threads")
    for width in widths:
        for batch in batches:
            work = workload(width, batch, quick=quick)
            rounds = 2 if quick else 7
            row = race(work, racing, rounds=rounds, shortest=0.01, choose=not quick)
            found["rows"].append({**row, "width": width})
            told = [f"{name} {seconds(t / work.m)}" for name, t in medians(row).items()]
            print(f"width {width}, batch {batch}: {', '.join(told)}", flush=True)
    return found


def draw(found: dict[str, Any], path: Path) -> None:
    """Save a square for each pair: the fastest peer's time over fastnn's, and who that is."""
    import matplotlib as mpl
    import numpy as np
    from matplotlib.figure import Figure

    widths, batches = found["widths"], found["batches"]
    figure = Figure(figsize=(5.6, 4.4), layout="constrained")
    axes = figure.subplots()
    ratios = np.full((len(widths), len(batches)), np.nan)
    for row in found["rows"]:
        i, j = widths.index(row["width"]), batches.index(row["batch"])
        name, ratios[i, j] = best(row)
        time = seconds(medians(row)["fastnn"] / row["m"])
        bold = "bold" if ratios[i, j] < 1 else "normal"
        text = f"{ratios[i, j]:.2g}\n{name}\n{time}"
        axes.text(j, i, text, ha="center", va="center", fontsize=6, fontweight=bold)
    shades = {"cmap": "RdBu", "vmin": -3, "vmax": 3, "alpha": 0.7}
    image = axes.imshow(np.log2(ratios), origin="lower", aspect="auto", **shades)
    bar = figure.colorbar(image, ticks=range(-3, 4))
    bar.ax.set_yticklabels([f"{2.0**k:g}" for k in range(-3, 4)])
    bar.set_label("fastest peer's time over fastnn's (red: the peer is ahead)")
    axes.set_xticks(range(len(batches)), batches)
    axes.set_yticks(range(len(widths)), widths)
    axes.set_xlabel("examples in a batch")
    axes.set_ylabel("width n of the network n-n-n-1")
    axes.set_title("the ratio, the fastest peer, and fastnn's time for an example", fontsize=9)
    with mpl.rc_context({"svg.hashsalt": "fastnn", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Time what is asked for, and draw it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few sizes, examples and rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to keep the figures")
    parser.add_argument("--report", type=Path, metavar="FILE", help="draw these, time nothing")
    parser.add_argument("--svg", type=Path, default=BENCH / "results" / "sweep.svg")
    options = parser.parse_args()
    if options.report:
        found = json.loads(options.report.read_text())
    else:
        try:
            found = measure(quick=options.quick)
        except DisagreementError as error:
            raise SystemExit(f"error: {error}") from None
        if options.json:
            options.json.write_text(json.dumps(found, indent=1) + "\n")
    draw(found, options.svg)


if __name__ == "__main__":
    main()
