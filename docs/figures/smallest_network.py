"""The figures of docs/a-transformer-you-can-hold.md: every layer of the smallest universal network with every weight,
what passes through it, and the functions that its four prompts make."""

from collections.abc import Sequence
from itertools import pairwise, product
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
from flint import fmpq

from constructions.numbers.matrix import PiecewiseLinear
from constructions.numbers.rational import RationalMatrix
from constructions.transformer import Head, Layer
from constructions.universality.for_all import budget
from constructions.universality.grid import Grid
from constructions.universality.hardmax_network import HardmaxNetwork
from constructions.universality.softmax_network import SoftmaxNetwork

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "promptcert"
HERE = Path(__file__).parent
NETWORK = HardmaxNetwork.of(Grid(1, 1, 2))
GRID = NETWORK.grid
COLORS = {"quantise": "#dbe9f6", "sweep": "#fde3cb", "values": "#dff0d8", "clamp": "#e8e1f2"}
WIDTH, LEFT = 12.0, 0.15


def text(x: fmpq) -> str:
    return str(x).replace("-", "−")


def one(matrix: RationalMatrix) -> fmpq:
    """The entry of a 1×1 matrix."""
    assert matrix.shape == (1, 1)
    return matrix[0, 0]


def unit_of(layer: Layer) -> tuple[PiecewiseLinear, fmpq]:
    """The unit and W_2 of a layer without attention, whose other weights are W_1 = 1, b_1 = b_2 = 0."""
    (head,), mlp = layer.attention.heads, layer.mlp
    assert mlp.units is not None
    assert [one(x) for x in (head.W_q, head.W_k, head.W_v, head.W_o, head.b_q)] == [0] * 5
    assert [one(x) for x in (mlp.W_1, mlp.b_1, mlp.b_2)] == [1, 0, 0]
    return mlp.units[0], one(mlp.W_2)


def heads_of(layer: Layer) -> tuple[Head, Head]:
    """The heads of a layer of the sweep, with W_q = W_k = W_v = 1 and no hidden units."""
    first, second = layer.attention.heads
    assert layer.mlp.hidden == 0
    assert one(layer.mlp.b_2) == 0
    assert all(one(x) == 1 for head in (first, second) for x in (head.W_q, head.W_k, head.W_v))
    return first, second


class Sheet:
    """A figure in which boxes and headings are placed from top to bottom."""

    def __init__(self, height: float) -> None:
        self.figure = plt.figure(figsize=(WIDTH, height))
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set_xlim(0, WIDTH)
        self.axes.set_ylim(0, height)
        self.axes.axis("off")
        self.y = height - 0.15

    def heading(self, title: str, lines: Sequence[str]) -> None:
        self.axes.text(LEFT, self.y, title, fontsize=11, fontweight="bold", va="top")
        self.y -= 0.25
        for line in lines:
            self.axes.text(LEFT, self.y, line, fontsize=9, va="top")
            self.y -= 0.21
        self.y -= 0.03

    def boxes(
        self, kind: str, contents: Sequence[tuple[str, Sequence[str]]], height: float
    ) -> list[tuple[float, float]]:
        """A row of boxes, each with a title and lines at its top; the lower left corners and the width."""
        width = (WIDTH - 2 * LEFT) / len(contents)
        corners = []
        for i, (title, lines) in enumerate(contents):
            x, y = LEFT + i * width, self.y - height
            patch = plt.Rectangle((x + 0.04, y), width - 0.08, height, facecolor=COLORS[kind], edgecolor="0.5")
            self.axes.add_patch(patch)
            self.axes.text(x + 0.12, self.y - 0.07, title, fontsize=9, fontweight="bold", va="top")
            for k, line in enumerate(lines):
                self.axes.text(x + 0.12, self.y - 0.31 - 0.2 * k, line, fontsize=8.5, va="top")
            corners.append((x + 0.04, y))
        self.y -= height + 0.22
        return corners

    def small(self, corner: tuple[float, float], width: float, height: float) -> plt.Axes:
        """Axes in the lower part of a box."""
        full_width, full_height = self.figure.get_size_inches()
        x, y = corner
        place = ((x + 0.12) / full_width, (y + 0.24) / full_height, (width - 0.32) / full_width, height / full_height)
        axes = self.figure.add_axes(place)
        axes.patch.set_alpha(0)
        axes.tick_params(labelsize=7, length=2, pad=1)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.set_yticks([])
        return axes


def draw_unit(axes: plt.Axes, unit: PiecewiseLinear, low: float, high: float) -> None:
    """The graph of a unit, piece by piece."""
    starts = [low] + [float(piece.start) for piece in unit.pieces if piece.start is not None] + [high]
    axes.axhline(0, color="0.6", linewidth=0.6)
    for piece, (a, b) in zip(unit.pieces, pairwise(starts), strict=True):
        ys = [float(piece.slope) * t + float(piece.intercept) for t in (a, b)]
        axes.plot((a, b), ys, color="C0", linewidth=1.6)
    axes.set_xlim(low, high)


def draw_network() -> None:
    sheet = Sheet(9.95)
    sheet.heading(
        "The smallest universal network: width 1, one input token, two grid values, 21 layers",
        [
            "Three numbers go in: two prompt tokens $p_1$, $p_2$ and the input x. The embedding adds 0, 1, 2, so "
            "that the state is ($p_1$, 1 + $p_2$, 2 + x).",
            "A feed-forward layer turns each number z of the state into z + $W_2$ unit($W_1$ z + $b_1$) + $b_2$. A "
            "layer of attention adds, for each head,",
            "$W_o$ $W_v$ times the number z' with the largest score ($W_k$ z')($W_q$ z + $b_q$). The output is the "
            "last number of the last state.",
        ],
    )
    number = 1
    sheet.y -= 0.1
    sheet.heading(
        "Quantise: layers 1 to 6",
        [
            "Head: all weights 0. Feed-forward: $W_1$ = 1, $b_1$ = 0, $W_2$ = 1, $b_2$ = 0. The unit is 0 but for one "
            "interval, whose numbers go down to its left end."
        ],
    )
    layers, contents = list(NETWORK.quantise()), []
    for layer in layers:
        unit, weight = unit_of(layer)
        assert weight == 1
        before, piece, after = unit.pieces
        assert before.start is None
        assert (before.slope, before.intercept, after.slope, after.intercept, piece.slope) == (0, 0, 0, 0, -1)
        interval = f"on [{text(piece.start)}, {text(after.start)}):"
        contents.append((f"{number}", [f"{interval}  {text(piece.intercept)} − t"]))
        number += 1
    corners = sheet.boxes("quantise", contents, 1.2)
    for layer, corner in zip(layers, corners, strict=True):
        axes = sheet.small(corner, (WIDTH - 2 * LEFT) / 6, 0.4)
        draw_unit(axes, unit_of(layer)[0], -0.2, 3.2)
        axes.set_ylim(-0.6, 0.15)
        axes.set_xticks([0, 1, 2, 3])
    number = draw_sweep(sheet, number)
    number = draw_values(sheet, number)
    sheet.heading(
        f"Clamp: layer {number}",
        [
            "Head: all weights 0. Feed-forward: $W_1$ = 1, $b_1$ = 0, $W_2$ = 1, $b_2$ = 0. What is below 0 becomes 0, "
            "what is above 1 becomes 1."
        ],
    )
    (layer,) = NETWORK.clamp()
    unit, weight = unit_of(layer)
    assert weight == 1
    low, middle, high = unit.pieces
    assert (low.slope, low.intercept, middle.slope, middle.intercept) == (-1, 0, 0, 0)
    assert (middle.start, high.start, high.slope, high.intercept) == (0, 1, -1, 1)
    (corner,) = sheet.boxes("clamp", [(f"{number}", ["below 0:  −t;   on [0, 1):  0;   from 1 on:  1 − t"])], 1.2)
    axes = sheet.small((corner[0] + 4.6, corner[1] + 0.03), 4.5, 0.75)
    draw_unit(axes, unit, -1.0, 2.0)
    axes.set_xticks([-1, 0, 1, 2])
    sheet.figure.savefig(HERE / "smallest-network.svg", metadata={"Date": None})
    plt.close(sheet.figure)


def draw_sweep(sheet: Sheet, number: int) -> int:
    sheet.heading(
        f"Sweep: layers {number} to {number + 5}",
        [
            "Two heads with $W_q$ = $W_k$ = $W_v$ = 1; no hidden units, $b_2$ = 0. A head looks at the largest number "
            "if z + $b_q$ is above 0, and at the smallest if it is below.",
            "So only a number between both thresholds, the dots, moves: up by 2·(largest − smallest).",
        ],
    )
    layers, contents = list(NETWORK.sweep()), []
    for layer in layers:
        first, second = heads_of(layer)
        thresholds = [-one(head.b_q) for head in (first, second)]
        lines = [f"$b_q$ = {text(one(head.b_q))},  $W_o$ = {text(one(head.W_o))}" for head in (first, second)]
        contents.append((f"{number}: lifts {text(sum(thresholds, fmpq(0)) / 2)}", lines))
        number += 1
    corners = sheet.boxes("sweep", contents, 1.3)
    for layer, corner in zip(layers, corners, strict=True):
        axes = sheet.small(corner, (WIDTH - 2 * LEFT) / 6, 0.3)
        places = [-float(one(head.b_q)) for head in heads_of(layer)]
        axes.axvspan(*places, color="C1", alpha=0.35)
        axes.plot(places, [0, 0], "o", color="C1", markersize=4)
        axes.set_ylim(-0.5, 1)
        axes.set_xlim(-0.4, 2.9)
        axes.set_xticks([0, 1, 2])
    return number


def draw_values(sheet: Sheet, number: int) -> int:
    sheet.heading(
        f"Values: layers {number} to {number + 7}",
        [
            "Head: all weights 0. Feed-forward: $W_1$ = 1, $b_1$ = 0, $b_2$ = 0. The unit is 1 on one interval, else "
            "0. Each layer knows one table ($p_1$, $p_2$), one cell of x, and so what to write."
        ],
    )
    layers, contents = list(NETWORK.values()), []
    for layer, codes in zip(layers, ordered_contexts(), strict=True):
        unit, weight = unit_of(layer)
        _, inside, after = unit.pieces
        assert [(piece.slope, piece.intercept) for piece in unit.pieces] == [(0, 0), (0, 1), (0, 0)]
        final, _, (target,) = NETWORK.entry(codes, 2)
        assert weight == target - final
        table = ", ".join(text(a * GRID.delta) for a in codes[:2])
        lines = [
            f"unit: 1 on [{text(inside.start)}, {text(after.start)})",
            f"$W_2$ = {text(weight)}",
            f"table ({table}), x in [{text(codes[2] * GRID.delta)}, {text((codes[2] + 1) * GRID.delta)})",
        ]
        contents.append((f"{number}: {text(final)} becomes {text(target)}", lines))
        number += 1
    sheet.boxes("values", contents[:4], 0.97)
    sheet.y += 0.08
    sheet.boxes("values", contents[4:], 0.97)
    return number


def ordered_contexts() -> list[tuple[int, ...]]:
    """The contexts in the order of the value layers."""
    return sorted(NETWORK.map.contexts(), key=lambda codes: NETWORK.map.final(codes)[2])


def label(axes: plt.Axes, value: fmpq, at: tuple[float, float], offset: tuple[float, float], color: str) -> None:
    """A number beside a point, moved by some points."""
    where = "right" if offset[1] == 0 else "center"
    style = {"fontsize": 8, "ha": where, "va": "center", "color": color}
    axes.annotate(text(value), at, xytext=offset, textcoords="offset points", **style)


def draw_flow() -> None:
    """The three numbers of the state after each layer, for the prompt (1/2, 0) and an input in either cell."""
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.6), sharey=True, layout="constrained")
    P = RationalMatrix.of([["1/2", 0]])
    stages = ("quantise", "sweep", "values", "clamp")
    for axes, x in zip(panels, ("1/3", "2/3"), strict=True):
        Z = RationalMatrix(P.hstack(RationalMatrix.of([[x]])).mat + GRID.embedding().mat)
        states, ends = [Z.rows()[0]], [0]
        for stage in stages:
            for layer in getattr(NETWORK, stage)():
                result = layer(Z)
                assert isinstance(result, RationalMatrix)
                Z = result
                states.append(Z.rows()[0])
            ends.append(len(states) - 1)
        for stage, (start, end) in zip(stages, pairwise(ends), strict=True):
            right = end + (2 if stage == "clamp" else 0.5)
            axes.axvspan(start + 0.5, right, color=COLORS[stage], linewidth=0)
            axes.text((start + 0.5 + right) / 2, 17.1, stage, ha="center", fontsize=8)
        asides = (-5, 0, 4)  # so that no number touches a line
        for j, name in enumerate(("$p_1$", "$p_2$", "x")):
            ys = [float(state[j]) for state in states]
            axes.step(range(len(ys)), ys, where="mid", color=f"C{j}", label=name, linewidth=1.6)
            label(axes, states[0][j], (0, ys[0]), (-6, 0), f"C{j}")
            for i, (before, state) in enumerate(pairwise(states), start=1):
                if before[j] != state[j] and i < len(states) - 1:
                    label(axes, state[j], (i, ys[i]), (asides[j], 7), f"C{j}")
        label(axes, states[-1][0], (21, 1), (12, 2), "C1")  # both prompt tokens end there
        assert states[-1][0] == states[-1][1] == 1
        axes.set_title(f"prompt (1/2, 0), input {x}: output {text(states[-1][2])}", fontsize=10)
        axes.set_xlabel("after layer")
        axes.set_xticks([0, 6, 12, 20])
        axes.set_xlim(-2, 23)
        axes.set_ylim(-0.8, 18)
    panels[0].legend(loc="upper left", bbox_to_anchor=(0.0, 0.93), fontsize=8)
    panels[0].set_ylabel("the numbers of the state")
    figure.savefig(HERE / "smallest-flow.svg", metadata={"Date": None})
    plt.close(figure)


def draw_functions() -> None:
    """f, its table, the softmax network's output enclosed; and the outputs for all four prompts."""
    found = budget(1, 1, fmpq(1), fmpq(1), fmpq(1, 2), k=2)
    soft = SoftmaxNetwork(found)
    figure = plt.figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.15, 1))
    axes = left.subplots()
    table = GRID.table(lambda X: RationalMatrix.of([[1 - X[0, 0]]]))
    axes.plot([0, 1], [1, 0], color="C0", label="f(x) = 1 − x")
    grid_values = [block[0][0] / 2 for block in table]
    axes.stairs(grid_values, [0, 0.5, 1], color="C1", label="table = prompt: (1/2, 0)", baseline=None)
    axes.stairs(
        [x + 0.25 for x in grid_values],
        [0, 0.5, 1],
        color="0.6",
        linewidth=4,
        alpha=0.5,
        baseline=None,
        label="hardmax network, exact",
    )
    points = [fmpq(2 * i + 1, 768) for i in range(384)]
    for i, x in enumerate(points):
        out = soft.enclosure(soft.prompt(table), RationalMatrix.of([[x]]))[0, 0]
        assert out.rad() < fmpq(1, 10**6)
        axes.plot(
            [float(x)], [float(out.mid())], "k.", markersize=2.5, label="softmax network, enclosed" if i == 0 else None
        )
    for start in (0.5, 1.0):
        axes.axvspan(start - float(found.eta), start, color="0.9", linewidth=0, zorder=0)
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.05, 1.05)
    axes.set_xlabel("x (grey: the softmax network's ramps)")
    left.legend(fontsize=8, loc="outside lower center", ncols=2)
    for small, digits in zip(
        right.subplots(2, 2, sharex=True, sharey=True).flat, product((0, 1), repeat=2), strict=True
    ):
        P = GRID.prompt([((a,),) for a in digits])
        outputs = [one(NETWORK.evaluate(P, RationalMatrix.of([[x]]))) for x in ("1/4", "3/4")]
        small.stairs([float(y) for y in outputs], [0, 0.5, 1], color="0.3", linewidth=2, baseline=None)
        for y, x in zip(outputs, (0.25, 0.75), strict=True):
            small.text(x, float(y) + 0.05, text(y), ha="center", fontsize=8)
        small.set_title(f"prompt ({', '.join(text(x) for x in P.rows()[0])})", fontsize=9)
        small.set_xlim(0, 1)
        small.set_ylim(0, 1)
        small.set_xticks([0, 0.5, 1])
        small.set_yticks([0, 0.5, 1])
        small.tick_params(labelsize=8)
    figure.savefig(HERE / "smallest-functions.svg", metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    draw_network()
    draw_flow()
    draw_functions()
