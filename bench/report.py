"""Turn the JSON of ``pytest bench --benchmark-json=FILE`` into a table and a chart.

    python bench/report.py FILE                  # print the table
    python bench/report.py FILE --write          # also bench/README.md, the chart, and README.md

A ratio is the median of NumPy's time over ours, both timed in turn: above 1, fastnn is faster.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
CHART = HERE / "results" / "chart.svg"


class Row(NamedTuple):
    kernel: str
    shape: str
    dtype: str
    numpy: float  # seconds, median
    fastnn: float
    ratio: float
    rate: str


def read(path: Path) -> tuple[list[Row], dict[str, Any]]:
    """Return the rows, in the order they were run, and what machine it was."""
    data = json.loads(path.read_text())
    rows = []
    for entry in data["benchmarks"]:
        info = entry["extra_info"]
        if info["entrant"] != "fastnn":
            continue
        rate = next(
            (f"{info[unit]:.3g} {unit}" for unit in ("GFLOP/s", "GB/s") if unit in info), ""
        )
        named = info["kernel"], info["shape"], info["dtype"]
        times = info["numpy_seconds"], info["fastnn_seconds"], info["ratio"]
        rows.append(Row(*named, *times, rate))
    machine = data["machine_info"]
    machine["datetime"] = data["datetime"][:10]
    return rows, machine


def describe(machine: dict[str, Any]) -> str:
    """Return one sentence: where and when the figures were taken."""
    brand = machine.get("cpu", {}).get("brand_raw", machine["machine"])
    return (
        f"{brand}, {machine['threads']} cores; Python {machine['python_version']}, "
        f"NumPy {machine['numpy']}; {machine['datetime']}"
    )


def table(rows: list[Row]) -> str:
    """Return the rows as Markdown."""
    lines = [
        "| kernel | shape | type | NumPy | fastnn | fastnn's rate | ratio |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        ratio = f"{row.ratio:.2f}" if row.ratio >= 1 else f"**{row.ratio:.2f}**"
        lines.append(
            f"| {row.kernel} | {row.shape} | {row.dtype} | {seconds(row.numpy)} "
            f"| {seconds(row.fastnn)} | {row.rate} | {ratio} |"
        )
    return "\n".join(lines)


def seconds(t: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if t >= size:
            return f"{t / size:.3g} {unit}"
    return f"{t * 1e9:.3g} ns"


def summary(rows: list[Row]) -> str:
    """Return one line per kernel: the least, median and greatest ratio, for both types."""
    lines = [
        "| kernel | shapes | float32: least | median | most | float64: least | median | most |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for kernel, group in _by_kernel(rows).items():
        cells = []
        for dtype in ("float32", "float64"):
            ratios = sorted(row.ratio for row in group if row.dtype == dtype)
            if ratios:
                cells += [_bold(r) for r in (ratios[0], statistics.median(ratios), ratios[-1])]
            else:
                cells += ["", "", ""]
        shapes = len({row.shape for row in group})
        lines.append(f"| {kernel} | {shapes} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _bold(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio >= 1 else f"**{ratio:.2f}**"


def _by_kernel(rows: list[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.kernel, []).append(row)
    return groups


def draw(rows: list[Row], path: Path) -> None:
    """Save every ratio as a dot, one line per kernel."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator

    groups = _by_kernel(rows)
    figure = Figure(figsize=(8.0, 0.22 * len(groups) + 1.2), layout="constrained")
    axes = figure.subplots()
    for i, group in enumerate(groups.values()):
        for dtype, colour, shift in (("float32", "C0", -0.14), ("float64", "C1", 0.14)):
            ratios = [row.ratio for row in group if row.dtype == dtype]
            axes.plot(ratios, [i + shift] * len(ratios), "o", color=colour, alpha=0.75, ms=4)
    axes.plot([], [], "o", color="C0", label="float32")
    axes.plot([], [], "o", color="C1", label="float64")
    axes.axvline(1, color="0.3", linewidth=1)
    axes.set_xscale("log")
    ticks = [0.25, 0.5, 1, 2, 5, 10, 20, 50, 100, 200]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([f"{tick:g}" for tick in ticks])
    axes.set_yticks(range(len(groups)), groups, fontsize=8)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_xlabel("times as fast as NumPy (a dot per shape; right of 1, fastnn wins)")
    axes.grid(True, axis="x", alpha=0.3)
    axes.legend(loc="lower right", fontsize=8)
    with mpl.rc_context({"svg.hashsalt": "fastnn"}):
        figure.savefig(path, metadata={"Date": None})


def lost(rows: list[Row]) -> str:
    """Return in how many rows NumPy is faster, and in how many by more than a little."""
    some, clear = (sum(row.ratio < limit for row in rows) for limit in (1, 0.95))
    return f"NumPy faster in {some}, by more than 5 % in {clear}"


def insert(path: Path, name: str, text: str) -> None:
    """Replace what stands between the two marks of that name in a Markdown file."""
    begin, end = f"<!-- {name}: generated -->", f"<!-- {name}: end -->"
    old = path.read_text()
    if begin not in old or end not in old:
        raise SystemExit(f"{path} has no marks {begin} ... {end}")
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    path.write_text(pattern.sub(lambda _: f"{begin}\n{text}\n{end}", old))


def main() -> None:
    """Read the file, print the table, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--write", action="store_true", help="update the READMEs and the chart")
    options = parser.parse_args()
    rows, machine = read(options.file)
    kernels = [row for row in rows if not row.kernel.startswith(("call of", "training"))]
    whole = [row for row in rows if row not in kernels]
    count = (
        f"{len(kernels)} comparisons of kernels, one thread each: {lost(kernels)}."
        f" {len(whole)} of whole calls and of training, NumPy with all threads: {lost(whole)}."
        f" {describe(machine)}."
    )
    print(table(rows))
    print(f"\n{count}")
    if options.write:
        draw(rows, CHART)
        insert(HERE / "README.md", "benchmarks", f"{count}\n\n{summary(rows)}\n\n{table(rows)}")
        insert(HERE.parent / "README.md", "benchmarks", count)


if __name__ == "__main__":
    main()
