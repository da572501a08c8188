"""Turn the JSON of ``pytest bench --benchmark-json=FILE`` into a table and a chart.

    python bench/report.py FILE                  # print the table
    python bench/report.py ALL --single ONE --write

The second also writes bench/README.md, the chart and the table of README.md, from a run with all
threads and one with a single thread on both sides. A ratio is NumPy's median time over ours, both
taken in the same run: above 1, fastnn is faster.
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
    rate: str

    @property
    def ratio(self) -> float:
        return self.numpy / self.fastnn


def read(path: Path) -> tuple[list[Row], dict[str, Any]]:
    """Return the rows, in the order they were run, and what machine it was."""
    data = json.loads(path.read_text())
    pairs: dict[tuple[str, str, str], dict[str, Any]] = {}
    for entry in data["benchmarks"]:
        info = entry["extra_info"]
        key = info["kernel"], info["shape"], info["dtype"]
        pairs.setdefault(key, {})[info["entrant"]] = entry
    rows = []
    for (kernel, shape, dtype), both in pairs.items():
        ours, theirs = both["fastnn"], both["numpy"]
        info = ours["extra_info"]
        rate = next(
            (f"{info[unit]:.3g} {unit}" for unit in ("GFLOP/s", "GB/s") if unit in info), ""
        )
        rows.append(
            Row(kernel, shape, dtype, theirs["stats"]["median"], ours["stats"]["median"], rate)
        )
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


def summary(rows: list[Row], single: list[Row]) -> str:
    """Return one line per kernel, float32: least, median and greatest ratio of both runs."""
    lines = [
        "| kernel | shapes | one thread each: least | median | most "
        "| all threads: least | median | most |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    alone = _by_kernel([row for row in single if row.dtype == "float32"])
    for kernel, group in _by_kernel([row for row in rows if row.dtype == "float32"]).items():
        cells = []
        for part in (alone[kernel], group):
            ratios = sorted(row.ratio for row in part)
            cells += [ratios[0], statistics.median(ratios), ratios[-1]]
        text = " | ".join(f"{r:.2f}" if r >= 1 else f"**{r:.2f}**" for r in cells)
        lines.append(f"| {kernel} | {len(group)} | {text} |")
    return "\n".join(lines)


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
    axes.set_xlabel(
        "times as fast as NumPy, one thread each (a dot per shape; right of 1, fastnn wins)"
    )
    axes.grid(True, axis="x", alpha=0.3)
    axes.legend(loc="lower right", fontsize=8)
    with mpl.rc_context({"svg.hashsalt": "fastnn"}):
        figure.savefig(path, metadata={"Date": None})


def insert(path: Path, name: str, text: str) -> None:
    """Replace what stands between the two marks of that name in a Markdown file."""
    begin, end = f"<!-- {name}: generated -->", f"<!-- {name}: end -->"
    old = path.read_text()
    if begin not in old or end not in old:
        raise SystemExit(f"{path} has no marks {begin} ... {end}")
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    path.write_text(pattern.sub(lambda _: f"{begin}\n{text}\n{end}", old))


def count(rows: list[Row], threads: str) -> str:
    """Return the sentence that says how many comparisons NumPy wins."""
    lost = sum(row.ratio < 1 for row in rows)
    return f"{threads}: {len(rows)} comparisons, NumPy faster in {lost} (in bold)."


def main() -> None:
    """Read the files, print the table, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path, help="a run with all threads")
    parser.add_argument("--single", type=Path, help="a run with one thread on both sides")
    parser.add_argument("--write", action="store_true", help="update the READMEs and the chart")
    options = parser.parse_args()
    rows, machine = read(options.file)
    print(table(rows))
    print(f"\n{count(rows, 'All threads')} {describe(machine)}.")
    if options.write:
        if options.single is None:
            parser.error("--write needs --single as well")
        single, _ = read(options.single)
        draw(single, CHART)
        head = f"{describe(machine)}."
        both = f"{count(single, 'One thread each')} {count(rows, 'All threads')}"
        insert(
            HERE / "README.md",
            "benchmarks",
            f"{head}\n\n## One thread each\n\n{count(single, 'One thread each')}\n\n"
            f"{table(single)}\n\n## All threads\n\n{count(rows, 'All threads')}\n\n{table(rows)}",
        )
        insert(HERE.parent / "README.md", "benchmarks", f"{both} {head}\n\n{summary(rows, single)}")


if __name__ == "__main__":
    main()
