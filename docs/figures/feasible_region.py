"""The figure of docs/when-can-a-prompt-memorize.md: where entropies and divergences are positive, for two datasets."""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np

from constructions.files import read_data, read_model
from constructions.single_layer.criterion_search import CriterionSearch
from constructions.single_layer.decide_several import GroupImpossible
from verify.claims.several_queries import several_queries

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "promptcert"
HERE = Path(__file__).parent
NAMES = {("entropy", 0): "H₁", ("entropy", 1): "H₂", ("divergence", 0): "D₁₂", ("divergence", 1): "D₂₁"}


def draw(axes: plt.Axes, data_file: str, title: str) -> None:
    """One dataset: each inequality's boundary, its forbidden side shaded; what stays white is feasible."""
    model = read_model(HERE.parent / "examples" / "identity.json")
    grouped = several_queries(model, read_data(HERE.parent / "examples" / data_file))
    system = grouped.system((0, 0), None)
    assert not isinstance(system, GroupImpossible)
    search = CriterionSearch(system)
    reference = np.array([float(r) for r in search.reference])
    grid = np.linspace(-2, 6, 241)
    values = np.array([[search.values(np.array([x, y]) - reference) for x in grid] for y in grid])
    for row, inequality in enumerate(system.inequalities):
        name, color = NAMES[inequality.kind, inequality.group], f"C{row}"
        axes.contourf(grid, grid, values[:, :, row], levels=[-1e9, 0], colors=[color], alpha=0.2)
        axes.contour(grid, grid, values[:, :, row], levels=[0], colors=[color])
        axes.plot([], [], color=color, label=f"{name} = 0")
    least = values.min(axis=2)
    if least.max() > 0:
        i, j = np.unravel_index(least.argmax(), least.shape)
        axes.plot(grid[j], grid[i], "k*", markersize=10, label="any point here is a certificate")
    axes.set_xlim(grid[0], grid[-1])
    axes.set_ylim(grid[0], grid[-1])
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("σ₁ = log of the prompt's mass at query 1")
    axes.set_ylabel("σ₂")
    axes.legend(fontsize=8, loc="upper left")


def main() -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4.3))
    draw(left, "two-queries.json", "memorizable: a white region is left")
    draw(right, "two-queries-crossed.json", "unmemorizable: everything is forbidden")
    figure.tight_layout()
    figure.savefig(HERE / "feasible-region.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
