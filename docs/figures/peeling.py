"""The figure of docs/heads-and-tokens.md: logit vectors, their parts that each head does not see, and the hulls that
peeling asks about."""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np

from constructions.files import read_data, read_model
from constructions.single_layer.peeling import Peeled, peel
from constructions.single_layer.several_heads import HeadPairs
from verify.claims.several_heads import several_heads

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "promptcert"
HERE = Path(__file__).parent
MARKERS = ("o", "s")


def hulls(axes: plt.Axes, pairs: HeadPairs) -> None:
    """Each pair in the plane; and, on the axis that its head does not see, its place against the hull of the others."""
    q = np.array([[float(x) for x in vector] for vector in pairs.q])
    axes.axhline(0, color="0.85", linewidth=0.8)
    axes.axvline(0, color="0.85", linewidth=0.8)
    for pair, (x, y) in enumerate(q):
        head, query = pair % 2, pair // 2
        color = f"C{head}"
        unseen = 0 if pairs.kernels[head][0, 0] != 0 else 1
        place = -1.75 - 0.22 * query
        others = np.delete(q[:, unseen], pair)
        ends, own = [others.min(), others.max()], q[pair, unseen]
        bar, at, drop = (ends, [place] * 2), (own, place), ([x, own], [y, place])
        if unseen == 1:
            bar, at, drop = bar[::-1], at[::-1], ([x, place], [y, own])
        axes.plot(*drop, color=color, linewidth=0.8, linestyle=":")
        axes.plot(*bar, color="0.75", linewidth=5, solid_capstyle="butt")
        axes.plot(*at, MARKERS[head], color=color, markersize=6)
        axes.plot(x, y, MARKERS[head], color=color, markersize=9)
        axes.annotate(f"x{'₁₂'[query]}", (x, y), textcoords="offset points", xytext=(8, 4), fontsize=9)


def draw(axes: plt.Axes, model_file: str) -> None:
    examples = HERE.parent / "examples"
    pairs = several_heads(read_model(examples / model_file), read_data(examples / "two-tokens.json")).pairs
    hulls(axes, pairs)
    peeled = isinstance(peel(pairs), Peeled)
    axes.set_title(
        "peelable: every mark is outside of its bar" if peeled else "stuck: every mark is inside of its bar",
        fontsize=10,
    )
    axes.set_xlim(-2.2, 1.6)
    axes.set_ylim(-2.2, 1.6)
    axes.set_aspect("equal")
    axes.set_xticks([-1, 0, 1])
    axes.set_yticks([-1, 0, 1])


def main() -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.8))
    draw(left, "peelable.json")
    draw(right, "stuck.json")
    for head in (0, 1):
        left.plot([], [], MARKERS[head], color=f"C{head}", label=f"logit vectors of head {head + 1}")
    left.plot([], [], color="0.75", linewidth=5, label="hull of the other three")
    figure.legend(*left.get_legend_handles_labels(), loc="lower center", ncols=3, fontsize=9, frameon=False)
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    figure.savefig(HERE / "peeling.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
