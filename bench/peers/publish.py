"""The figures of ``run.py`` as a line, a table and a chart."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import limits as machine_limits
from report import insert, seconds  # bench/report.py
from workloads import DRAWN, TABLE, VARIANTS

BENCH = Path(__file__).resolve().parent.parent
CHART = BENCH / "results" / "peers.svg"
FIGURES = CHART.with_suffix(".json")


def medians(row: dict[str, Any]) -> dict[str, float]:
    return {name: statistics.median(times) for name, times in row["seconds"].items()}


def _peers(row: dict[str, Any]) -> dict[str, float]:
    """Return each peer's time over fastnn's, on examples as rows."""
    times = medians(row)
    ours = times["fastnn"]
    return {name: t / ours for name, t in times.items() if not name.startswith("fastnn")}


def best(row: dict[str, Any]) -> tuple[str, float]:
    """Return the fastest peer, and how many times as fast fastnn is."""
    peers = _peers(row)
    name = min(peers, key=peers.__getitem__)
    return name, peers[name]


def _limits(row: dict[str, Any]) -> dict[str, float]:
    """Return the best that the machine did in any round: it could not have done more."""
    return {key: max(found[key] for found in row["limits"]) for key in row["limits"][0]}


def share(row: dict[str, Any]) -> float:
    """Return what part of fastnn's time the binding limit of all threads accounts for."""
    told = row["operations"], row["traffic"], row["dtype"]
    return machine_limits.least(*told, _limits(row)) / medians(row)["fastnn"]


def _bound(row: dict[str, Any]) -> str:
    found = _limits(row)
    reading = row["traffic"] / found["read"]
    return "reading" if reading > row["operations"] / found[row["dtype"]] else "FMA"


def _ratio(value: float) -> str:
    text = f"{value:.3g}" if value >= 10 else f"{value:.2f}"
    return text if value >= 1 else f"**{text}**"


def _aims(row: dict[str, Any]) -> str:
    peers, found = _peers(row), []
    for name, aim in row["aims"]:
        ratio = best(row)[1] if name == "best" else peers.get(name)
        who = "the best" if name == "best" else name
        got = "?" if ratio is None else f"{ratio:.3g}"
        found.append(f"{who} {got} of {aim:g}")
    return "; ".join(found)


def line(row: dict[str, Any]) -> str:
    """Return a row as a paragraph for the terminal."""
    times, peers = medians(row), _peers(row)
    told = [f"{name} {seconds(t)}" for name, t in times.items() if name not in peers]
    told += [
        f"{name} {seconds(times[name])} ({_ratio(ratio)}, threads: {row['threads'][name]})"
        for name, ratio in peers.items()
    ]
    text = f"\n{row['name']}, per {row['unit']}\n  " + "\n  ".join(told)
    text += f"\n  share of the limit ({_bound(row)}): {share(row):.1%}"
    if row["aims"]:
        text += f"\n  aims: {_aims(row)}"
    if row["note"]:
        text += f"\n  {row['note']}"
    for name, reason in row["reasons"].items():
        text += f"\n  {name}: {reason}"
    return text


def table(found: dict[str, Any], group: str) -> str:
    """Return the rows of a group as Markdown: times, ratios and the share of the limit."""
    rows = [row for row in found["rows"] if row["group"] == group]
    names = [name for name in found["entrants"] if any(name in row["seconds"] for row in rows)]
    head = ["workload", "per", *names, "best peer / fastnn", "share of the limit", "aims"]
    sides = ["---", "---", *["---:"] * len(names), "---:", "---:", "---"]
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join(sides)} |"]
    for row in rows:
        times = medians(row)
        name, ratio = best(row) if _peers(row) else ("", float("nan"))
        cells = [row["name"], row["unit"]]
        cells += [_cell(row, name, times) for name in names]
        cells += [f"{_ratio(ratio)} ({name})", f"{share(row):.0%} ({_bound(row)})", _aims(row)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(row: dict[str, Any], name: str, times: dict[str, float]) -> str:
    if name not in times:
        return ""
    # Marked where one thread was faster than all.
    one = not name.startswith("fastnn") and row["threads"][name] == 1
    return seconds(times[name]) + ("¹" if one else "")


def describe(found: dict[str, Any]) -> str:
    """Return where, when and with what the figures were taken, and who is absent."""
    machine = found["machine"]
    present = [name for name, told in found["entrants"].items() if "version" in told]
    # One library in two ways of use is named once: the second way's name begins with the first's.
    named = [
        name for name in present if not any(name.startswith(f"{p}") and name != p for p in present)
    ]
    versions = ", ".join(f"{name} {found['entrants'][name]['version']}" for name in named)
    absent = "".join(
        f" {name} is absent: {told['absent']}."
        for name, told in found["entrants"].items()
        if "absent" in told
    )
    rounds = max(len(times) for row in found["rows"] for times in row["seconds"].values())
    small = " Reduced sizes: these figures mean nothing." if found["quick"] else ""
    return (
        f"{machine['brand']}, {machine['threads']} threads; Python {machine['python_version']},"
        f" Numba {machine['numba']}; {versions}; {machine['date']}. Medians of {rounds} rounds."
        f"{absent}{small} {machine_limits.told(found['limits'])}"
    )


def text(found: dict[str, Any]) -> str:
    """Return everything as Markdown."""
    compared = [row for row in found["rows"] if _peers(row)]
    lost = sum(best(row)[1] < 1 for row in compared)
    parts = [
        f"{len(compared)} workloads: a peer is faster than fastnn in {lost}. {describe(found)}"
    ]
    groups = [
        group
        for group in (TABLE, VARIANTS, DRAWN)
        if any(row["group"] == group for row in found["rows"])
    ]
    parts += [f"**{group}**\n\n{table(found, group)}" for group in groups]
    notes = [f"{row['name']}: {row['note']}." for row in found["rows"] if row["note"]]
    return "\n\n".join([*parts, "¹ on one thread, which was faster than all.", *notes])


def summary(found: dict[str, Any]) -> str:
    """Return the first group of workloads, each beside its fastest peer alone, as Markdown."""
    rows = [row for row in found["rows"] if row["group"] == TABLE and _peers(row)]
    lines = [
        "| workload (time of a) | fastnn | fastest peer | ratio |",
        "| --- | ---: | ---: | ---: |",
    ]
    for row in rows:
        times, (name, ratio) = medians(row), best(row)
        peer = f"{name} {seconds(times[name])}"
        what = f"{row['name']} ({row['unit']})"
        lines.append(f"| {what} | {seconds(times['fastnn'])} | {peer} | {_ratio(ratio)} |")
    return "\n".join(lines)


def report(found: dict[str, Any], *, write: bool) -> None:
    """Print the text, and put it, the figures and the chart where they belong."""
    print(text(found))
    if write:
        if found["quick"]:
            raise SystemExit("these are the figures of a quick run, which are not published")
        draw(found, CHART)
        FIGURES.write_text(json.dumps(found, indent=1) + "\n")
        picture = "![Each peer's time over fastnn's]"
        insert(BENCH / "README.md", "peers", f"{picture}(results/peers.svg)\n\n{text(found)}")
        short = f"{summary(found)}\n\n{describe(found)}\n\n{picture}(bench/results/peers.svg)"
        insert(BENCH.parent / "README.md", "peers", short)


def draw(found: dict[str, Any], path: Path) -> None:
    """Save a bar for each workload, to its fastest peer, and a dot for every other one."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator

    rows = [row for row in found["rows"] if _peers(row)]
    names = [name for name in found["entrants"] if not name.startswith("fastnn")]
    colours = {name: f"C{i}" for i, name in enumerate(names)}
    figure = Figure(figsize=(8.0, 0.24 * len(rows) + 1.4), layout="constrained")
    axes = figure.subplots()
    for i, row in enumerate(rows):
        first, ratio = best(row)
        # From 1, on a logarithmic axis: to the left where the peer wins.
        axes.barh(i, ratio - 1, left=1, height=0.6, color=colours[first], alpha=0.45)
        for name, value in _peers(row).items():
            axes.plot(value, i, "o", color=colours[name], ms=4)
    for name in names:
        if any(name in row["seconds"] for row in rows):
            axes.plot([], [], "o", color=colours[name], label=name)
    axes.axvline(1, color="0.3", linewidth=1)
    axes.set_xscale("log")
    ticks = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500]
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(FixedLocator([t for t in ticks if low <= t <= high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows], fontsize=7)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("the peer's time over fastnn's (right of 1, fastnn wins; bar: fastest peer)")
    axes.grid(True, axis="x", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=6, fontsize=7)
    with mpl.rc_context({"svg.hashsalt": "fastnn", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None})
