"""The figure of docs/invertible-is-not-injective.md: three inputs and one prompt, step by step."""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np

from constructions.depth.collapse import collapse

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "promptcert"
HERE = Path(__file__).parent
PROMPT = np.array([1.0, 0.4])
INPUTS = [np.array([-0.9, 0.5]), np.array([-0.2, -1.0]), np.array([0.5, 1.2])]


def main() -> None:
    maps = [
        np.array([[float(x) for x in row] for row in layer.attention.heads[0].V.rows()]) for layer in collapse().layers
    ]
    figure, panels = plt.subplots(1, 5, figsize=(13, 3.4), sharex=True, sharey=True)
    tokens = [(PROMPT.copy(), x.copy()) for x in INPUTS]
    for step, axes in enumerate(panels):
        axes.axhline(0, color="0.9", linewidth=0.8, zorder=0)
        axes.axvline(0, color="0.9", linewidth=0.8, zorder=0)
        axes.plot(*-PROMPT, "+", color="0.3", markersize=14)
        for k, (p, x) in enumerate(tokens):
            axes.plot(*zip(p, x, strict=True), color=f"C{k}", linewidth=0.8, linestyle=":")
            axes.plot(*p, "s", color=f"C{k}", markersize=5, markerfacecolor="none")
            axes.plot(*x, "o", color=f"C{k}", markersize=7)
        axes.set_title("before" if step == 0 else f"after layer {step}", fontsize=10)
        axes.set_aspect("equal")
        axes.set_xticks([-2, 0, 2])
        axes.set_yticks([-2, 0, 2])
        if step < len(maps):
            tokens = [(p + maps[step] @ (p + x) / 2, x + maps[step] @ (p + x) / 2) for p, x in tokens]
    panels[0].plot([], [], "o", color="0.4", label="input token")
    panels[0].plot([], [], "s", color="0.4", markerfacecolor="none", label="prompt token in the same run")
    panels[0].plot([], [], "+", color="0.3", markersize=12, label="−p")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="lower center", ncols=3, fontsize=9, frameon=False)
    figure.tight_layout(rect=(0, 0.08, 1, 1))
    figure.savefig(HERE / "collapse.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
