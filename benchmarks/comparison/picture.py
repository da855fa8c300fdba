"""The picture of a comparison: bars of speeds, and how the cost of a step grows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comparison import figures, problems
from comparison.contenders import BASE, CONTENDERS
from comparison.tasks import GROWTH_POINTS

_SHOWN = ("fit", "evaluate", "predict", "row")
_AXES = {"width": "width", "depth": "layers", "batch": "batch size", "samples": "samples"}


def draw(found: dict[str, Any], path: Path) -> bool:
    """Draw the first run; return False without matplotlib or without what it shows."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot

    run = found["runs"][0]
    speeds = [
        result
        for result in run["results"]
        if result["task"]["activity"] in _SHOWN
        and not result["task"]["key"].startswith("growth")
        and BASE in result["figures"]
    ]
    growth = {r["task"]["key"]: r for r in run["results"] if r["task"]["key"].startswith("growth")}
    if not speeds:
        return False
    figure = pyplot.figure(figsize=(12, 5 + 3 * bool(growth)), layout="constrained")
    grid = figure.add_gridspec(2 if growth else 1, 4, height_ratios=[5, 3] if growth else [5])
    _draw_speeds(figure.add_subplot(grid[0, :]), speeds)
    for index, axis in enumerate(_AXES if growth else ()):
        _draw_growth(figure.add_subplot(grid[1, index]), axis, growth)
    figure.suptitle(f"{run['device']}, {len(run['cores'])} core(s), {found['date']}")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return True


def _draw_speeds(plot: Any, results: list[dict[str, Any]]) -> None:
    """Draw a group of bars for each task, on a scale on which twice and half are as far."""
    names = [
        name
        for name in CONTENDERS
        if name != BASE and any(name in result["figures"] for result in results)
    ]
    width = 0.85 / max(len(names), 1)
    for index, name in enumerate(names):
        ratios = [figures.ratio(result, name) for result in results]
        places = [at + (index - (len(names) - 1) / 2) * width for at in range(len(results))]
        pairs = [(p, r) for p, r in zip(places, ratios, strict=True) if r is not None]
        heights = [ratio - 1 for _, ratio in pairs]
        plot.bar([place for place, _ in pairs], heights, width, bottom=1, label=name)
    plot.axhline(1, color="black", linewidth=1)
    plot.set_yscale("log", base=2)
    plot.set_ylim(bottom=1 / 32)
    plot.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    labels = [result["title"].replace(", ", ",\n").replace(" + ", " +\n") for result in results]
    plot.set_xticks(range(len(results)), labels, fontsize=7)
    plot.set_ylabel(f"speed, as a multiple of the {BASE}")
    plot.legend(ncols=5, fontsize=8)


def _draw_growth(plot: Any, axis: str, results: dict[str, Any]) -> None:
    """Draw the time of a step over one size."""
    points = [point for point in GROWTH_POINTS if point[0] == axis]
    for name in CONTENDERS:
        found = []
        for _, size, problem in points:
            result = results.get(f"growth-{axis}-{size}", {"figures": {}})
            steps = problems.find(problem).num_steps
            found.append((size, figures.step_microseconds(result, name, steps)))
        known = [(size, value) for size, value in found if value is not None]
        if known:
            plot.loglog(*zip(*known, strict=True), marker="o", label=name)
    sizes = [size for _, size, _ in points]
    plot.set_xticks(sizes, [f"{size:,}" for size in sizes])
    plot.set_xticks([], minor=True)
    plot.set_xlabel(_AXES[axis])
    plot.set_ylabel("µs a step")
    plot.set_ylim(bottom=10)
    plot.legend(fontsize=7)
