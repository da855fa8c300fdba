"""The Markdown page of a comparison."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from typing import Any

from comparison import figures, problems
from comparison.bounds import bounds
from comparison.contenders import BASE, CONTENDERS
from comparison.tasks import GROWTH_POINTS

Run = dict[str, Any]
Cell = Callable[[dict[str, Any], str], str]

_FRESH = ("import", "memory", "growth", "tenths", "verbose")


def text(found: dict[str, Any], has_picture: bool) -> str:
    """Return the page.

    Args:
        found: what `compare.py` writes as JSON.
        has_picture: show it.
    """
    lines = [
        f"# {found['command']}, {found['date']}",
        "",
        f"{found['machine']}; Python {found['python']}; {found['rounds']} interleaved rounds; "
        f"load average at the end {found['load']:.1f}.",
        "",
    ]
    if has_picture:
        lines += [f"![Speeds]({found['stem']}.png)", ""]
    for run in found["runs"]:
        lines += _run(run)
    return "\n".join(lines).rstrip() + "\n"


_BEGIN, _END = "<!-- speeds: begin -->\n", "<!-- speeds: end -->\n"


def with_speeds(page: str, found: dict[str, Any]) -> str:
    """Return a page with the speeds of the runs between its two marks.

    Raises:
        ValueError: if the page has not the marks.
    """
    head, begin, rest = page.partition(_BEGIN)
    _, end, tail = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"with_speeds: the page must have {_BEGIN!r} and {_END!r}; it has not.")
    lines = [f"`{found['command']}`, {found['date']}, {found['machine']}:", ""]
    for run in found["runs"]:
        count = len(run["cores"])
        lines += [f"{run['device']}, " + ("one core:" if count == 1 else f"{count} cores:"), ""]
        lines += _speeds(run)[2:]
    return head + begin + "\n".join(lines) + end + tail


def _run(run: Run) -> list[str]:
    count = len(run["cores"])
    cores = "one pinned core" if count == 1 else f"{count} cores"
    versions = ", ".join(f"{name} {version}" for name, version in sorted(run["versions"].items()))
    lines = [f"## {run['device']}, {cores}", "", f"{versions}. It took {run['seconds']:.0f} s.", ""]
    lines += [f"Without {name}: {reason}." for name, reason in run["absent"].items()]
    parts = (_speeds, _first_steps, _verbose, _memory, _imports, _growth, _flatness, _must_hold)
    for part in (*parts, _failures):
        lines += part(run)
    return lines


def _names(run: Run, wanted: Iterable[str] | None = None) -> list[str]:
    """Return the contenders that took part, in their order."""
    present = {name for result in run["results"] for name in result["figures"]}
    return [name for name in CONTENDERS if name in present and (wanted is None or name in wanted)]


def _of(run: Run, *starts: str) -> list[dict[str, Any]]:
    return [result for result in run["results"] if result["task"]["key"].startswith(starts)]


def _table(
    title: str, results: list[dict[str, Any]], names: list[str], cell: Cell, device: str = ""
) -> list[str]:
    """Return a table, a row for a result; nothing without results."""
    if not results:
        return []
    columns = ["task", *(["device"] if device else []), *names]
    lines = [f"### {title}", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for result in results:
        first = [result["title"], *([device] if device else [])]
        lines.append(f"| {' | '.join([*first, *(cell(result, name) for name in names)])} |")
    return [*lines, ""]


def _speeds(run: Run) -> list[str]:
    results = [r for r in run["results"] if not r["task"]["key"].startswith(_FRESH)]

    def cell(result: dict[str, Any], name: str) -> str:
        value = figures.ratio(result, name)
        if value is None:
            return _said(result, name)
        if name != BASE:
            return _short(value)
        return f"1 ({figures.rate(result, name):,.0f}/s)"

    title = "Speed, as a multiple of the in-memory loop"
    return _table(title, results, _names(run), cell, run["device"])


def _said(result: dict[str, Any], name: str) -> str:
    return "failed" if name in result["failures"] else ""


def _short(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.1g}"


def _first_steps(run: Run) -> list[str]:
    results = [r for r in _of(run, "") if r["task"]["activity"] == "fit" and not _grows(r)]

    def cell(result: dict[str, Any], name: str) -> str:
        value = result["first_seconds"].get(name)
        return _said(result, name) if value is None else f"{value:.2f}"

    title = "Seconds to the end of the first step: network, compilation, one batch"
    return _table(title, results, _names(run), cell)


def _grows(result: dict[str, Any]) -> bool:
    return bool(result["task"]["key"].startswith("growth"))


def _verbose(run: Run) -> list[str]:
    results = _of(run, "verbose")

    def cell(result: dict[str, Any], name: str) -> str:
        value = figures.verbose_ratio(result, name)
        return _said(result, name) if value is None else f"{value:.2f}"

    names = [name for name in _names(run) if any(name in r["figures"] for r in results)]
    return _table("Speed with verbose=1, as a share of verbose=0", results, names, cell)


def _memory(run: Run) -> list[str]:
    def cell(result: dict[str, Any], name: str) -> str:
        if name not in result["figures"]:
            return _said(result, name)
        ((added, peak),) = result["figures"][name]
        return f"{added / 1e6:+.0f} ({peak / 1e6:,.0f})"

    def start(result: dict[str, Any], name: str) -> str:
        value = result["first_seconds"].get(name)
        return _said(result, name) if value is None else f"{value:.1f}"

    title = "MB that an epoch adds at its peak to a process that has the data (peak of the process)"
    results = _of(run, "memory")
    return [
        *_table(title, results, _names(run), cell),
        *_table(
            "Seconds from the start of a process to the end of the first step, with the code that "
            "the tasks before compiled",
            results,
            _names(run),
            start,
        ),
    ]


def _imports(run: Run) -> list[str]:
    results = _of(run, "import")

    def cell(result: dict[str, Any], name: str) -> str:
        seconds = figures.column(result, name)
        return f"{statistics.median(seconds):.2f}" if seconds else ""

    names = [name for name in _names(run) if any(name in r["figures"] for r in results)]
    return _table("Seconds of a process that imports it", results, names, cell)


def _growth(run: Run) -> list[str]:
    steps = {}
    for axis, size, problem in GROWTH_POINTS:
        steps[f"growth-{axis}-{size}"] = problems.find(problem).num_steps

    def cell(result: dict[str, Any], name: str) -> str:
        value = figures.step_microseconds(result, name, steps[result["task"]["key"]])
        return _said(result, name) if value is None else f"{value:,.0f}"

    results = _of(run, "growth")
    names = [name for name in _names(run) if any(name in r["figures"] for r in results)]
    return _table("Growth: microseconds a step", results, names, cell)


def _flatness(run: Run) -> list[str]:
    def cell(result: dict[str, Any], name: str) -> str:
        value = figures.flatness(result, name)
        return _said(result, name) if value is None else f"{value:.2f}"

    results = _of(run, "tenths")
    names = [name for name in _names(run) if any(name in r["figures"] for r in results)]
    return _table("Time of an epoch's last tenth over its first", results, names, cell)


def _must_hold(run: Run) -> list[str]:
    results = {result["task"]["key"]: result for result in run["results"]}
    found = list(bounds(results))
    if not found or run["device"] != "CPU" or len(run["cores"]) > 1:
        return []
    short = [bound for bound in found if bound[1] < bound[2]]
    lines = [f"### Must hold: {len(found) - len(short)} of {len(found)} bounds do", ""]
    if short:
        lines += ["| falls short | measured | least |", "|---|---|---|"]
        lines += [f"| {what} | {value:.2f} | {least} |" for what, value, least in short]
    return [*lines, ""]


def _failures(run: Run) -> list[str]:
    lines = []
    for result in run["results"]:
        title = result["title"]
        lines += [f"- {title}, {name}: {why}" for name, why in result["failures"].items()]
        for name in figures.untrained(result):
            lines.append(f"- {title}, {name}: the loss did not fall, so its speed means nothing.")
    return ["### Failures", "", *lines, ""] if lines else []
