"""The figure of ``promptcert experiments``: for each dataset the loss before the MLP on its exact curve, and below it
the loss of the outputs in its certified band, with low-rank and full tuning at zero."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from constructions.documents import write_bytes
from constructions.numbers.rational import rational

RED, BLUE, GREEN, PURPLE, INK = "#c0392b", "#1f5fa8", "#1e8449", "#7d3c98", "#222222"
DASHES = (0, (4, 3))
NOTHING = 1e-14
"""Below this the axis of the second row is linear, down to an exact zero."""


def write_plot(path: Path, result: dict[str, Any]) -> None:
    """Write the figure as .svg or .png, by the file's ending: the same bytes each time. Raises InputError."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"svg.hashsalt": "promptcert", "font.size": 9, "axes.titlesize": 10})
        stream = BytesIO()
        kind = path.suffix.removeprefix(".")
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        draw(result).savefig(stream, format=kind, metadata=metadata, dpi=150)
    write_bytes(path, stream.getvalue())


def draw(result: dict[str, Any]) -> Figure:
    """Two rows, one column for each dataset."""
    datasets = result["datasets"]
    figure = Figure(figsize=(1.2 + 3.6 * max(len(datasets), 2), 7.4), layout="constrained")
    rows = figure.subfigures(2, 1, squeeze=False)[:, 0]
    kinds = ((_before_the_mlp, "loss before the MLP"), (_outputs, "loss of the outputs"))
    for row, (draw_one, label) in zip(rows, kinds, strict=True):
        grid = row.subplots(1, len(datasets), squeeze=False)[0]
        for number, (axes, dataset) in enumerate(zip(grid, datasets, strict=True)):
            draw_one(axes, dataset)
            axes.set_title(f"dataset {number}")
        grid[0].set_ylabel(label)
        row.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def _before_the_mlp(axes: Axes, dataset: dict[str, Any]) -> None:
    lengths, lower, upper = _levels(dataset, "loss")
    limit = _number(dataset["curve"][-1]["loss"]["upper"])
    axes.fill_between(lengths, 0, lower, color=RED, alpha=0.10, linewidth=0, label="certified: no prompt is here")
    axes.plot(lengths, upper, color=RED, linewidth=1.6, label="exact least loss (certified to 10⁻⁸)")
    axes.axhline(limit, color=RED, linewidth=1, linestyle=DASHES, label="the same, prompts of any length")
    height = max(1.8 * (upper[0] - limit), 0.1 * upper[0])
    top = limit + height
    _scatter(axes, _points(dataset, "prompt-attention"), top, "prompt trained for this loss (Adam)")
    axes.set_ylim(limit - 0.15 * height, top)
    _lengths(axes, lengths)


def _outputs(axes: Axes, dataset: dict[str, Any]) -> None:
    lengths, lower, upper = _levels(dataset, "output_loss")
    axes.fill_between(lengths, 0, lower, color=BLUE, alpha=0.10, linewidth=0, label="certified: no prompt is here")
    axes.fill_between(
        lengths, lower, upper, color=BLUE, alpha=0.35, linewidth=0, label="certified: the best prompt is here"
    )
    limit = _number(dataset["curve"][-1]["output_loss"]["lower"])
    last = lengths[-1]
    axes.plot(
        [lengths[0] / 2, 1.5 * last], [limit, limit], color=BLUE, linewidth=1, linestyle=DASHES,
        label="certified: no prompt of any length is below",
    )  # fmt: skip
    points = _points(dataset, "prompt-output")
    axes.plot(
        [x for x, _ in points], [y for _, y in points], ".", color=INK, markersize=4, alpha=0.5,
        label="prompt trained for this loss (Adam)",
    )  # fmt: skip
    places = {"low-rank": (4 * last, "low-rank", GREEN, "D"), "all-weights": (16 * last, "all\nweights", PURPLE, "s")}
    for method, (x, _, colour, marker) in places.items():
        losses = [y for _, y in _points(dataset, method)]
        name = "low-rank update of the MLP" if method == "low-rank" else "all weights"
        axes.plot([x] * len(losses), losses, marker, color=colour, markersize=5, alpha=0.6, label=f"{name} (Adam)")
    axes.set_yscale("symlog", linthresh=NOTHING, linscale=0.5)
    axes.set_ylim(-NOTHING, 30)
    axes.set_yticks([0, 1e-12, 1e-9, 1e-6, 1e-3, 1], ["0", "10⁻¹²", "10⁻⁹", "10⁻⁶", "10⁻³", "1"])
    axes.minorticks_off()
    _lengths(axes, lengths, {x: name for x, name, _, _ in places.values()})
    axes.axvline(2 * last, color="0.8", linewidth=0.8)


def _scatter(axes: Axes, points: list[tuple[float, float]], top: float, label: str) -> None:
    """Losses beyond ``top`` stand at the edge, as triangles."""
    inside = [point for point in points if point[1] < top]
    axes.plot([x for x, _ in inside], [y for _, y in inside], ".", color=INK, markersize=5, alpha=0.5, label=label)
    outside = [x for x, y in points if y >= top]
    if outside:
        axes.plot(outside, [top] * len(outside), "^", color=INK, markersize=4, alpha=0.4, clip_on=False)


def _lengths(axes: Axes, lengths: list[float], more: dict[float, str] | None = None) -> None:
    named = {x: str(int(x)) for x in lengths} | (more or {})
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(named), list(named.values()))
    axes.minorticks_off()
    axes.tick_params(labelsize=8)
    axes.set_xlim(lengths[0] / 1.5, max(named) * (1.5 if more is None else 3))
    axes.set_xlabel("prompt tokens")
    axes.spines[["top", "right"]].set_visible(False)


def _levels(dataset: dict[str, Any], key: str) -> tuple[list[float], list[float], list[float]]:
    levels = [level for level in dataset["curve"] if level["prompt_length"] is not None]
    lengths = [float(level["prompt_length"]) for level in levels]
    return lengths, [_number(x[key]["lower"]) for x in levels], [_number(x[key]["upper"]) for x in levels]


def _points(dataset: dict[str, Any], method: str) -> list[tuple[float, float]]:
    """(prompt tokens or 0, loss) of all runs of a method."""
    return [
        (float(run["prompt_length"] or 0), _number(run["loss"]["upper"]))
        for run in dataset["runs"]
        if run["method"] == method
    ]


def _number(text: str) -> float:
    return float(rational(text))
