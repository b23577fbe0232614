"""Why no prompt memorizes a pair: what each example asks of the prompt's own output lies on another side of a line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from flint import fmpq
from matplotlib.figure import Figure
from numpy.typing import NDArray

from constructions.single_layer.loss_problem import LossProblem
from verify.report.figures.style import BLUE, INK, MUTED, ORANGE, new_figure, panel


def draw(problem: LossProblem, w: Sequence[fmpq]) -> Figure:
    """d = 2, one head, two queries with one preimage each: context outputs A_k, shifted preimages a_k, for each k the
    ray of outputs u with λ A_k + (1−λ) u = a_k, and the line across w that keeps the rays apart."""
    seen = [view.approximate() for view in problem.views]
    outputs = [np.array([float(x / mass) for x in total]) for total, mass in seen]
    asked = [np.array([float(x) for x in points[0]]) for points in problem.shifted]
    normal = np.array([float(x) for x in w])
    normal = normal / np.linalg.norm(normal)
    points = np.array([*outputs, *asked, [0.0, 0.0]])
    middle, reach = (points.max(0) + points.min(0)) / 2, 0.8 * np.ptp(points, axis=0).max()
    figure = new_figure(4.4)
    axes = panel(figure)
    along = np.array([-normal[1], normal[0]])
    far = 10 * reach
    for sign, colour in ((-1, BLUE), (1, ORANGE)):
        corners = [-far * along, far * along, far * along + sign * far * normal, -far * along + sign * far * normal]
        axes.fill(*zip(*corners, strict=True), color=colour, alpha=0.08, linewidth=0)
    axes.axline((0, 0), tuple(along), color=INK, linewidth=1.2, linestyle="--", label="the line across w")
    foot = along * float(along @ middle) + 0.85 * reach * along * (1 if along @ (middle - points.mean(0)) > 0 else -1)
    tip = foot + 0.25 * reach * normal
    axes.annotate("", _pair(tip), _pair(foot), arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 1.4})
    axes.annotate("w", _pair(tip), (5, 0), textcoords="offset points", fontsize=10, va="center")
    for k, (A, a, colour) in enumerate(zip(outputs, asked, (BLUE, ORANGE), strict=True)):
        number = "₁₂"[k]
        end = a + (a - A) / np.linalg.norm(a - A) * far
        label = f"where example {k + 1} needs the prompt's output"
        axes.plot(*zip(a, end, strict=True), color=colour, linewidth=3, solid_capstyle="butt", label=label)
        axes.plot(*zip(A, a, strict=True), color=colour, linewidth=1, linestyle=":")
        axes.plot(*A, "s", color=colour, markersize=7)
        axes.plot(*a, "o", color=colour, markersize=7)
        for name, point in (("A", A), ("a", a)):
            axes.annotate(
                f"{name}{number}", _pair(point), (8, 6), textcoords="offset points", fontsize=10, color=colour
            )
    axes.plot([], [], "s", color=MUTED, label="A: attention output without a prompt")
    axes.plot([], [], "o", color=MUTED, label="a: attention output asked for")
    axes.set_aspect("equal")
    axes.set_xlim(middle[0] - reach, middle[0] + reach)
    axes.set_ylim(middle[1] - reach, middle[1] + reach)
    figure.legend(loc="outside lower center", ncols=1)
    return figure


def _pair(point: NDArray[np.float64]) -> tuple[float, float]:
    return float(point[0]), float(point[1])
