"""The figure of docs/how-many-parameters.md: how the three ways grow with the examples and with the width."""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt

from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.compare import parameter_count
from constructions.single_layer.prompt_length import needed_tokens
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "promptcert"
HERE = Path(__file__).parent
WIDTH = 16


def layer_of(d: int, r: int) -> Layer:
    zeros = RationalMatrix.zeros
    head = Head(zeros(d, d), zeros(d, d), zeros(d, d))
    return Layer(Attention((head,)), FeedForward(zeros(r, d), zeros(r, 1), zeros(d, r), zeros(d, 1)))


def counts(d: int, n: int, r: int) -> tuple[int, int, int]:
    """A prompt that n queries with independent contributions need, at least; a low-rank update; the full layer."""
    layer = layer_of(d, r)
    tokens = needed_tokens(layer, n)
    assert tokens is not None
    return tokens * d, d + 2 * n + n * d, parameter_count(Transformer((layer,)))


def main() -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8))
    examples, widths = range(1, WIDTH + 1), range(2, 65)
    for axes, xs, rows in (
        (left, examples, [counts(WIDTH, n, WIDTH) for n in examples]),
        (right, widths, [counts(d, d, d) for d in widths]),
    ):
        prompt, update, full = zip(*rows, strict=True)
        axes.plot(xs, full, color="0.5", label="full layer, 4d² + 2rd + r + d")
        axes.plot(xs, update, label="low-rank update, d + 2n + nd")
        axes.plot(xs, prompt, label="prompt, at least nd")
        axes.set_ylabel("parameters")
        axes.set_ylim(0, None)
    left.set_xlabel(f"examples n (width d = {WIDTH}, hidden units r = {WIDTH})")
    right.set_xlabel("width d = examples n = hidden units r")
    left.set_xticks(range(2, WIDTH + 1, 2))
    left.legend(loc="center right", bbox_to_anchor=(1.0, 0.72))
    figure.tight_layout()
    figure.savefig(HERE / "parameters.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
