"""How much loss is left at every prompt length: the exact curve with its certified floor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from matplotlib.figure import Figure

from constructions.single_layer.curve import loss_curve
from constructions.single_layer.loss_problem import LossProblem
from verify.report.figures.style import BLUE, GREEN, INK, MUTED, ORANGE, new_figure, panel

LENGTHS = (1, 2, 4, 8, 16, 32, 64)


def draw(
    problem: LossProblem,
    *,
    lengths: Sequence[int] = LENGTHS,
    checked: tuple[int, float] | None = None,
    attempts: Iterable[tuple[int, float]] = (),
    attempt: str = "gradient descent (sampled)",
) -> Figure:
    """The curve over prompts of at most so many tokens, enclosed at every length drawn, and the limit of all lengths.

    ``checked`` is a length and the lower bound that a certificate of it proves, ``attempts`` are lengths and losses
    that a search reached. Raises Undecided where a loss cannot be enclosed.
    """
    *bounds, limit = list(loss_curve(problem, [*lengths, None]))
    lower, upper = [float(b.lower) for b in bounds], [float(b.upper) for b in bounds]
    figure = new_figure(3.3)
    axes = panel(figure)
    axes.fill_between(lengths, 0, lower, color=BLUE, alpha=0.12, linewidth=0, label="no prompt of this length is here")
    axes.plot(lengths, upper, color=BLUE, label="least loss, enclosed", marker="o", markersize=3.5)
    axes.axhline(float(limit.upper), color=GREEN, linestyle="--", linewidth=1.2, label="prompts of any length")
    for i, (length, loss) in enumerate(attempts):
        axes.plot(
            [length],
            [loss],
            "x",
            color=ORANGE,
            markersize=7,
            clip_on=False,
            zorder=4,
            label=attempt if i == 0 else None,
        )
    if checked is not None:
        axes.plot(
            *checked,
            "D",
            color=INK,
            markersize=8,
            markerfacecolor="none",
            clip_on=False,
            zorder=3,
            label="checked by the kernel",
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks(lengths, [str(length) for length in lengths], minor=False)
    axes.set_xlim(0.93 * lengths[0], lengths[-1])
    axes.set_ylim(0, None)
    axes.set_xlabel("prompt tokens, at most")
    axes.set_ylabel("loss before the MLP")
    axes.tick_params(which="minor", length=0)
    figure.legend(loc="outside lower center", ncols=2, labelcolor=INK, edgecolor=MUTED)
    return figure
