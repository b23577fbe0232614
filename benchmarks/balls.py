"""One attention layer in balls: flint's arb (ours) against the same computation in mpmath.iv, in one run.

    PYTHONPATH=. python benchmarks/balls.py [--bits 64 128 256 512 1024] [--widths 8 16] [--tokens 32] [--repetitions 3]

The layer has one softmax head of width d, no MLP, rational weights, and a skip connection; it is evaluated at all m
tokens. Both sides start from the same rationals, converted before the clock starts. mpmath.iv runs as plain loops over
its intervals, at the same precision in bits, in two ways:

- ``same``: the same operations as ours. A weight is 1/Σ_l e^{s_l - s_i}, which keeps wide balls narrow at the price of
  an exponential for each pair of tokens (m² for each column);
- ``plain``: what its users would write, e^{s_i} / Σ_l e^{s_l}, one exponential for each score.

mpmath.iv's exp is not rigorous (its intervals can miss the true value), so it is no alternative to balls at any speed;
it is measured because it is what a Python user would reach for. As a check, the middle of each interval must be within
2^-40 of our ball. The last columns are the largest width of an enclosure, for ours and for ``same``.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import flint
from flint import arb, fmpq
from mpmath import iv

from constructions.numbers.balls import BallMatrix
from constructions.numbers.rational import RationalMatrix
from constructions.transformer import Attention, FeedForward, Head, Layer

Rows = list[list[Any]]


def matrix(rng: random.Random, rows: int, columns: int) -> RationalMatrix:
    return RationalMatrix.of([[fmpq(rng.randint(-9, 9), 10) for _ in range(columns)] for _ in range(rows)])


def intervals(values: RationalMatrix) -> Rows:
    return [[iv.mpf(int(x.p)) / int(x.q) for x in row] for row in values.rows()]


def product(left: Rows, right: Rows) -> Rows:
    columns = list(zip(*right, strict=True))
    return [[sum((a * b for a, b in zip(row, column, strict=True)), iv.mpf(0)) for column in columns] for row in left]


def transposed(values: Rows) -> Rows:
    return [list(column) for column in zip(*values, strict=True)]


def layer_in_iv(W_q: Rows, W_k: Rows, W_v: Rows, W_o: Rows, X: Rows, softmax: Callable[[list[Any]], list[Any]]) -> Rows:
    """Attention and skip connection."""
    scores = product(transposed(product(W_k, X)), product(W_q, X))
    weights = transposed([softmax(list(column)) for column in zip(*scores, strict=True)])
    output = product(W_o, product(product(W_v, X), weights))
    return [[a + x for a, x in zip(left, right, strict=True)] for left, right in zip(output, X, strict=True)]


def same_softmax(column: list[Any]) -> list[Any]:
    return [
        1 / sum((iv.exp(other - score) for k, other in enumerate(column) if k != i), iv.mpf(1))
        for i, score in enumerate(column)
    ]


def plain_softmax(column: list[Any]) -> list[Any]:
    exponentials = [iv.exp(score) for score in column]
    mass = sum(exponentials, iv.mpf(0))
    return [x / mass for x in exponentials]


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def measure(d: int, m: int, bits: int, repetitions: int) -> tuple[float, float, float, float, float]:
    """Median seconds of ours, same and plain, and the largest enclosure width of ours and same."""
    rng = random.Random(f"{d}/{m}/{bits}")
    parts = [matrix(rng, d, d) for _ in range(4)]
    X = matrix(rng, d, m)
    layer = Layer(Attention((Head(*parts),)), FeedForward.none(d))
    iv.prec = bits
    inputs = [intervals(part) for part in (*parts, X)]
    with flint.ctx.workprec(bits):
        balls = BallMatrix.embed(X)
        ours = [timed(lambda: layer(balls)) for _ in range(repetitions)]
        theirs = [timed(lambda: layer_in_iv(*inputs, same_softmax)) for _ in range(repetitions)]
        plain = [timed(lambda: layer_in_iv(*inputs, plain_softmax)) for _ in range(repetitions)]
        mine, other = ours[0][1], theirs[0][1]
        widest = [0.0, 0.0]
        for i in range(d):
            for j in range(m):
                ball, interval = mine[i, j], other[i][j]
                widest = [max(widest[0], 2 * float(ball.rad())), max(widest[1], float(interval.delta))]
                middle = arb(str(float(interval.mid.a)))
                if not abs(ball - middle) < arb(2) ** -40:
                    raise SystemExit(f"entry {i}, {j}: {ball} and {interval} are apart")
    medians = [statistics.median(seconds for seconds, _ in runs) for runs in (ours, theirs, plain)]
    return medians[0], medians[1], medians[2], widest[0], widest[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bits", type=int, nargs="+", default=[64, 128, 256, 512, 1024])
    parser.add_argument("--widths", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--repetitions", type=int, default=3)
    args = parser.parse_args()
    print(f"one softmax head, {args.tokens} tokens, all outputs; medians of {args.repetitions}")
    print(
        f"{'d':>4} {'bits':>5} {'balls':>9} {'iv same':>10} {'ratio':>6} {'iv plain':>10} {'ratio':>6}"
        f"   {'width':>9} {'width iv':>9}"
    )
    for d in args.widths:
        for bits in args.bits:
            mine, same, plain, width, width_iv = measure(d, args.tokens, bits, args.repetitions)
            print(
                f"{d:>4} {bits:>5} {1e3 * mine:>6.1f} ms {1e3 * same:>7.0f} ms {same / mine:>5.1f}x"
                f" {1e3 * plain:>7.0f} ms {plain / mine:>5.1f}x   {width:>9.1e} {width_iv:>9.1e}",
                flush=True,
            )


if __name__ == "__main__":
    main()
