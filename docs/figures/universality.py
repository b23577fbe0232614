"""The figure of docs/one-network-for-all.md: a function, its table, the softmax network's output, the band of ε."""

from math import sin
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
from flint import fmpq

from constructions.numbers.rational import RationalMatrix
from constructions.universality.families import run_softmax
from constructions.universality.for_all import budget
from constructions.universality.one_function import table_of
from constructions.universality.softmax_network import SoftmaxNetwork
from constructions.universality.target import Target

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "promptcert"
HERE = Path(__file__).parent
POINTS = 96


def main() -> None:
    found = budget(1, 1, fmpq(3, 2), fmpq(2), fmpq(1, 10))
    grid, network = found.grid, SoftmaxNetwork(found)
    table = table_of(Target.parse(["(1+sin(3*x))/2"], 1, 1), grid)
    P = network.prompt(table)
    xs = [i / 400 for i in range(401)]
    ys = [(1 + sin(3 * x)) / 2 for x in xs]
    epsilon = float(found.epsilon)
    figure, axes = plt.subplots(figsize=(7, 4))
    low, high = [y - epsilon for y in ys], [y + epsilon for y in ys]
    axes.fill_between(xs, low, high, alpha=0.15, label="f ± ε (the theorem: the mean error in d₂ is at most ε)")
    axes.plot(xs, ys, label="f(x) = (1 + sin 3x)/2")
    grid_values = [block[0][0] / grid.k for block in table]
    axes.stairs(grid_values, [i / grid.k for i in range(grid.k + 1)], label=f"table = prompt, {grid.k} tokens")
    for i in range(POINTS):
        x = fmpq(2 * i + 1, 2 * POINTS)
        out = run_softmax(network, P, RationalMatrix.of([[x]]))
        label = "output of the softmax network, enclosed" if i == 0 else None
        axes.plot([float(x)], [float(out[0, 0].mid())], "k.", markersize=4, label=label)
    axes.set_xlim(0, 1)
    axes.set_xlabel("x")
    axes.legend(fontsize=8, loc="lower center")
    figure.tight_layout()
    figure.savefig(HERE / "universality.svg", metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
