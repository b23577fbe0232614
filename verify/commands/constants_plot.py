"""The figure of ``promptcert constants --plot``: prompt tokens, layers and bits against ε, both choices of the grid."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import matplotlib
from flint import fmpq
from matplotlib.figure import Figure

from constructions.documents import write_bytes
from constructions.universality.for_all import Constants, Size, TooLargeError, constants

FACTORS = [fmpq(round(1000 * 10 ** (j / 8)), 1000) for j in range(-8, 9)]
"""ε is multiplied by these: from a tenth to ten times of what was asked for."""
CHOICES = {"ours": False, "textbook": True}
Series = dict[str, list[tuple[fmpq, Constants]]]


def layers_log10(found: Constants) -> float:
    """Attention and feed-forward layers together, logarithm to base ten."""
    attention, feed_forward = found.attention_layers, found.feed_forward_layers
    if attention.exact is None or feed_forward.exact is None:
        return max(attention.log10, feed_forward.log10)
    return Size.of(attention.exact + feed_forward.exact).log10


PANELS: tuple[tuple[str, str, Callable[[Constants], float]], ...] = (
    ("tokens", "prompt tokens", lambda found: 10**found.prompt_length.log10),
    ("layers", "layers, logarithm to base ten", layers_log10),
    ("bits", "bits of the largest weight", lambda found: found.bits),
)


def series(d: int, m: int, L: fmpq, p: fmpq, epsilon: fmpq) -> Series:
    """The constants of both choices at accuracies around ε; those whose numbers are too large are left out.

    >>> found = series(1, 1, fmpq(1), fmpq(2), fmpq(1, 10))
    >>> [len(points) for points in found.values()], found["ours"][8][0], str(found["ours"][8][1].k)
    ([17, 17], 1/10, '8')
    """
    found: Series = {}
    for name, textbook in CHOICES.items():
        points = []
        for factor in FACTORS:
            try:
                points.append((factor * epsilon, constants(d, m, L, p, factor * epsilon, textbook=textbook)))
            except TooLargeError:
                continue
        found[name] = points
    return found


def draw(found: Series, epsilon: fmpq, title: str) -> Figure:
    """One panel for each quantity, logarithmic on both axes; ε itself is marked."""
    figure = Figure(figsize=(10, 3.7), layout="constrained")
    figure.suptitle(title, fontsize=10)
    for axes, (key, label, value) in zip(figure.subplots(1, 3), PANELS, strict=True):
        axes.axvline(float(epsilon), color="0.8", linewidth=1)
        for (name, points), marker in zip(found.items(), ("o", "s"), strict=True):
            xs, ys = [float(x) for x, _ in points], [value(y) for _, y in points]
            (line,) = axes.loglog(xs, ys, marker=marker, markersize=3, linewidth=1, label=name)
            line.set_gid(f"{key}-{name}")
        axes.set_xlabel("ε")
        axes.set_title(label, fontsize=9)
        axes.tick_params(labelsize=8, which="both")
        axes.legend(fontsize=8)
    return figure


def write_plot(path: Path, d: int, m: int, L: fmpq, p: fmpq, epsilon: fmpq) -> None:
    """Write the figure as .svg or .png, by the file's ending: the same bytes each time. Raises InputError."""
    named = ", ".join(f"{name} = {_short(value)}" for name, value in (("L", L), ("p", p)))
    title = f"the universal softmax network: d = {d}, m = {m}, {named}"
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams["svg.hashsalt"] = "promptcert"
        stream = BytesIO()
        kind = path.suffix.removeprefix(".")
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        draw(series(d, m, L, p, epsilon), epsilon, title).savefig(stream, format=kind, metadata=metadata, dpi=150)
    write_bytes(path, stream.getvalue())


def _short(x: fmpq) -> str:
    return str(x) if len(str(x)) <= 20 else f"{float(x):.6g}"
