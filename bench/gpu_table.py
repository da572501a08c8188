"""The figures of ``gpu.py`` as Markdown: targets first, then times, then what the work is."""

from __future__ import annotations

from typing import Any

from gpu_race import median
from gpu_workloads import WORKLOADS, Target, Workload
from report import seconds  # bench/report.py

NOT_MEASURED = "not measured"


def _workload(row: dict[str, Any]) -> Workload:
    return next(work for work in WORKLOADS if work.name == row["name"])


def _fastest(row: dict[str, Any], beginning: str) -> tuple[str, float] | None:
    """Return the fastest peer whose name begins so, and its time."""
    found = [(t, name) for name in row["seconds"] if name.startswith(beginning)
             if (t := median(row, name)) is not None]  # fmt: skip
    return (min(found)[1], min(found)[0]) if found else None


def judge(
    target: Target, row: dict[str, Any], ceilings: dict[str, float]
) -> tuple[str, bool | None]:
    """Return what was measured, in words, and whether the target is reached; None: unknown."""
    ours = median(row, "fastnn")
    if ours is None:
        return NOT_MEASURED + _because(row, "fastnn"), None
    if target.of in ("copy", "read"):
        ceiling = ceilings.get(target.of)
        if not ceiling:
            return f"{NOT_MEASURED}: the {target.of} bandwidth is unknown", None
        share = row["bytes"] / ours / ceiling
        return f"{share:.1%}", share >= target.least
    peer = _fastest(row, target.of)
    if peer is None:
        return f"{NOT_MEASURED}: {target.of} was not{_because(row, target.of)}", None
    ratio = peer[1] / ours
    text = f"{ratio:.0%}" if target.least < 1 else f"{ratio:.2f} times"
    return f"{text} ({peer[0]})", ratio >= target.least


def _because(row: dict[str, Any], beginning: str) -> str:
    reasons = {text for name, text in row["reasons"].items() if name.startswith(beginning)}
    return f": {'; '.join(sorted(reasons))}" if reasons else ""


def targets(found: dict[str, Any]) -> str:
    """Return a line for each target: to reach, measured, reached or not."""
    lines = ["| workload | to reach | measured | reached |", "| --- | --- | --- | --- |"]
    for row in found["rows"]:
        for target in _workload(row).targets:
            text, reached = judge(target, row, found["ceilings"])
            verdict = {True: "yes", False: "**no**", None: ""}[reached]
            lines.append(f"| {row['name']} | {target.text} | {_cell(text)} | {verdict} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def times(found: dict[str, Any]) -> str:
    """Return a line for each workload: fastnn's time, its floor, and every peer's."""
    named = [name for name in found["entrants"] if name != "fastnn"]
    names = [name for name in named if any(name in row["seconds"] for row in found["rows"])]
    head = ["workload", "per", "fastnn", "spread", "floor", "binds", "share of it", *names]
    lines = [f"| {' | '.join(head)} |", f"| --- | --- |{' ---: |' * 2} ---: | --- | ---: |"
             + " ---: |" * len(names)]  # fmt: skip
    for row in found["rows"]:
        ours = median(row, "fastnn")
        cells = [row["name"], row["unit"]]
        cells += [NOT_MEASURED, ""] if ours is None else [seconds(ours), _spread(row)]
        cells += _floor(row, ours, found["ceilings"])
        for name in names:
            theirs = median(row, name)
            ratio = f" ({theirs / ours:.2f})" if theirs and ours else ""
            cells.append("" if theirs is None else seconds(theirs) + ratio)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(row: dict[str, Any]) -> str:
    found = row["seconds"]["fastnn"]
    return f"{(max(found) - min(found)) / min(found):.1%}"


def _floor(row: dict[str, Any], ours: float | None, ceilings: dict[str, float]) -> list[str]:
    if not ceilings:
        return ["", "", ""]
    least, binds = _workload(row).floor(row["bytes"], row["operations"], ceilings)
    return [seconds(least), binds, f"{least / ours:.0%}" if ours else ""]


def work(found: dict[str, Any]) -> str:
    """Return the bytes and operations of each workload, as counted."""
    lines = ["| workload | per | bytes | operations |", "| --- | --- | ---: | ---: |"]
    for row in found["rows"]:
        lines.append(
            f"| {row['name']} | {row['unit']} | {row['bytes']:,.0f} | {row['operations']:,.0f} |"
        )
    return "\n".join(lines)


def ceilings(found: dict[str, Any]) -> str:
    """Return what the device was measured to do, as one sentence."""
    told = found["ceilings"]
    if not told:
        return "The device's own limits were not measured."
    text = (
        f"Measured in the same run: copying {told['copy'] / 1e9:,.0f} GB/s (read and written),"
        f" reading {told['read'] / 1e9:,.0f} GB/s, multiply-adds {told['float32'] / 1e12:.1f}"
        f" TFLOP/s in float32 and {told['float64'] / 1e12:.1f} in float64"
    )
    for row in found["rows"]:
        if _workload(row).kind == "product" and (best := _fastest(row, "cuBLAS")):
            text += f"; {best[0]} {row['operations'] / best[1] / 1e12:.1f} TFLOP/s in float32"
    return text + "."


def describe(found: dict[str, Any]) -> str:
    """Return where, when and with what, and who is absent."""
    machine = found["machine"]
    versions = ", ".join(
        f"{name} {told['version']}" for name, told in found["entrants"].items() if "version" in told
    )
    absent = "".join(
        f" {name} is absent: {told['absent']}."
        for name, told in found["entrants"].items()
        if "absent" in told
    )
    text = (
        f"{machine['gpu']}; driver {machine['driver']}; {machine['packages']}; {versions};"
        f" {machine['date']}.{absent}"
    )
    if found["simulated"]:
        text += " In the simulator, which is Python: these figures mean nothing."
    elif found["quick"]:
        text += " Reduced sizes: these figures mean nothing."
    return text


def document(found: dict[str, Any]) -> str:
    """Return everything as Markdown."""
    judged = [
        judge(target, row, found["ceilings"])[1]
        for row in found["rows"]
        for target in _workload(row).targets
    ]
    count = (
        f"{judged.count(True)} of {len(judged)} targets reached, {judged.count(False)} not,"
        f" {judged.count(None)} not measured."
    )
    wrong = [text for row in found["rows"] for text in row["wrong"]]
    parts = [
        describe(found),
        ceilings(found),
        count,
        targets(found),
        "Times are medians; beside a peer's, in brackets, how many times fastnn's it is. The spread"
        " is that of fastnn's slowest measurement over its fastest.",
        times(found),
        "What the work is, at least; the floor is the larger of bytes and operations over what was"
        " measured.",
        work(found),
    ]
    if wrong:
        parts.insert(1, "WRONG RESULTS OR FAILURES:\n\n" + "\n".join(f"- {text}" for text in wrong))
    return "\n\n".join(parts)
