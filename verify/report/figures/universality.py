"""One network, and the prompt with which it computes a function: target, table, and the network's output enclosed."""

from __future__ import annotations

from collections.abc import Callable

from flint import fmpq
from matplotlib.figure import Figure

from constructions.numbers.exponential import midpoint
from constructions.numbers.rational import RationalMatrix
from constructions.universality.families import run_softmax
from constructions.universality.for_all import Budget
from constructions.universality.one_function import table_of
from constructions.universality.softmax_network import SoftmaxNetwork
from constructions.universality.target import Target
from verify.report.figures.style import BLUE, INK, ORANGE, new_figure, panel


def draw(found: Budget, expression: str, f: Callable[[float], float], *, points: int = 96) -> Figure:
    """d = m = 1: the function ``expression`` in x (``f`` the same in floats), which has to be L-Lipschitz, its table on
    the grid of ``found``, and the softmax network's output at so many inputs, enclosed whatever the depth."""
    grid, network = found.grid, SoftmaxNetwork(found)
    table = table_of(Target.parse([expression], 1, 1), grid)
    P = network.prompt(table)
    xs = [i / 400 for i in range(401)]
    ys = [f(x) for x in xs]
    epsilon = float(found.epsilon)
    figure = new_figure(3.5)
    axes = panel(figure)
    axes.fill_between(
        xs, [y - epsilon for y in ys], [y + epsilon for y in ys], color=BLUE, alpha=0.13, linewidth=0, label="f ± ε"
    )
    axes.plot(xs, ys, color=BLUE, label="target f")
    axes.stairs(
        [block[0][0] / grid.k for block in table],
        [i / grid.k for i in range(grid.k + 1)],
        color=ORANGE,
        linewidth=1.4,
        baseline=None,
        label=f"table = prompt of {grid.k} tokens",
    )
    inputs = [fmpq(2 * i + 1, 2 * points) for i in range(points)]
    outputs = [run_softmax(network, P, RationalMatrix.of([[x]]))[0, 0] for x in inputs]
    middles, radii = [float(midpoint(y)) for y in outputs], [float(y.rad()) for y in outputs]
    axes.errorbar(
        [float(x) for x in inputs], middles, yerr=radii, fmt=".", color=INK, markersize=3.5, linewidth=1,
        label="network's output, enclosed",
    )  # fmt: skip
    axes.set_xlim(0, 1)
    axes.set_ylim(0, max(1.0, *ys) + 1.2 * epsilon)
    axes.set_xlabel("x")
    figure.legend(loc="outside lower center", ncols=2)
    return figure
