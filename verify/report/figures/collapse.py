"""Inputs through invertible layers that forget them: all meet at −p."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from constructions.numbers.exponential_matrix import ExpMatrix
from constructions.numbers.rational import RationalMatrix, column_vector
from constructions.transformer import Transformer
from verify.report.figures.style import INK, MUTED, RULE, SERIES, new_figure

Point = NDArray[np.float64]
PROMPT = column_vector([1, "2/5"])
INPUTS = (column_vector(["-9/10", "1/2"]), column_vector(["-1/5", -1]), column_vector(["1/2", "6/5"]))


def trajectory(model: Transformer, P: RationalMatrix, X: RationalMatrix) -> list[tuple[Point, Point]]:
    """Prompt token and input token (d = 2, one each) before the first layer and after each, run exactly.

    >>> from constructions.depth.collapse import collapse
    >>> [[round(float(x), 3) + 0.0 for x in point] for point in trajectory(collapse(), PROMPT, INPUTS[0])[-1]]
    [[0.9, -0.5], [-1.0, -0.4]]
    """
    Z = P.hstack(X)
    states = [Z]
    for layer in model.layers:
        result = layer(Z)
        assert isinstance(result, ExpMatrix)
        rational = result.as_rational()  # the logits are equal
        assert rational is not None
        Z = rational
        states.append(Z)
    columns = [[np.array([float(x) for x in state.column(j)]) for j in (0, 1)] for state in states]
    return [(p, x) for p, x in columns]


def draw(model: Transformer, P: RationalMatrix = PROMPT, inputs: Sequence[RationalMatrix] = INPUTS) -> Figure:
    """One panel before the first layer and one after each: every input with the prompt token of its run."""
    runs = [trajectory(model, P, X) for X in inputs]
    steps = len(runs[0])
    rows = (steps + 3) // 3
    figure = new_figure(1.75 * rows)
    panels = figure.subplots(rows, 3, sharex=True, sharey=True).flatten()
    goal = -runs[0][0][0]
    reach = 1.15 * max(abs(c) for run in runs for state in run for token in state for c in token)
    for step, axes in enumerate(panels[:steps]):
        axes.axhline(0, color=RULE, linewidth=0.8, zorder=0)
        axes.axvline(0, color=RULE, linewidth=0.8, zorder=0)
        axes.plot(*goal, "+", color=INK, markersize=15, markeredgewidth=1.4)
        for colour, run in zip(SERIES, runs, strict=False):
            p, x = run[step]
            axes.plot(*zip(p, x, strict=True), color=colour, linewidth=0.9, linestyle=":")
            axes.plot(*p, "s", color=colour, markersize=5, markerfacecolor="none")
            axes.plot(*x, "o", color=colour, markersize=6, alpha=0.8)
        axes.set_title("before" if step == 0 else f"after layer {step}")
        axes.set_aspect("equal")
        axes.set_xlim(-reach, reach)
        axes.set_ylim(-reach, reach)
    panels[2].tick_params(labelbottom=True)
    key = panels[steps]
    for axes in panels[steps:]:
        axes.axis("off")
    key.plot([], [], "o", color=MUTED, label="input token")
    key.plot([], [], "s", color=MUTED, markerfacecolor="none", label="prompt token\nof the same run")
    key.plot([], [], "+", color=INK, markersize=11, linestyle="none", label="−p")
    key.legend(loc="center", borderpad=0)
    return figure
