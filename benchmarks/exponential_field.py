"""Exact attention in the exponential field: ours against sympy, in one run on one machine.

    PYTHONPATH=. python benchmarks/exponential_field.py [--widths 3 4 6 8] [--tokens 4] [--repetitions 5]

One head of width d with rational weights looks at a context of m tokens and a prompt of m tokens. Timed are

- ``output``: the attention output over the context, d exact fractions of sums of exponentials;
- ``equality``: deciding that two differently computed outputs are equal in their first entry (the split identity):
  attention over prompt and context together, and the mixture λ Att(x, X) + (1-λ) Att(x, P) of the two alone. Both sides
  are made before the clock starts, so that only the decision is compared.

Sympy gets the scores as Rationals, builds ``exp(score)`` and, for the output, the quotient of the sums entry by entry
(the products with the weights are made with sympy Rationals in plain loops: its Matrix is slower). For the equality it
is asked in each of these ways, and the fastest way that answers rightly counts:

- ``cancel``: ``cancel(left - right) == 0``;
- ``together``: ``expand(numer(together(left - right))) == 0``, the cheapest decision that is right for such sums;
- ``simplify``: ``simplify(left - right) == 0``, what most users would write.

``Expr.equals`` is not timed: it evaluates numerically at random points first and does not prove equality here. A way
that does not answer within CAP seconds is given up and printed as a lower bound.
"""

from __future__ import annotations

import argparse
import random
import signal
import statistics
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import sympy
from flint import fmpq

from constructions.numbers.exponential import ExpFraction
from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.attention_split import split
from constructions.single_layer.context import HeadView
from constructions.transformer import Head

CAP = 20  # seconds allowed to sympy for one decision

Rows = list[list[Any]]


def matrix(rng: random.Random, rows: int, columns: int, denominator: int = 3) -> RationalMatrix:
    return RationalMatrix.of(
        [[fmpq(rng.randint(-4, 4), rng.randint(1, denominator)) for _ in range(columns)] for _ in range(rows)]
    )


def in_sympy(values: RationalMatrix) -> Rows:
    return [[sympy.Rational(int(x.p), int(x.q)) for x in row] for row in values.rows()]


def product(left: Rows, right: Rows) -> Rows:
    return [
        [sum((a * b for a, b in zip(row, column, strict=True)), sympy.S(0)) for column in zip(*right, strict=True)]
        for row in left
    ]


class InSympy:
    """The same head with sympy's numbers: numerators and mass of the attention output over some tokens."""

    def __init__(self, head: Head, token: list[fmpq]) -> None:
        self.value = product(in_sympy(head.W_o), in_sympy(head.W_v))
        key, query = in_sympy(head.W_k), in_sympy(head.W_q)
        x = [[sympy.Rational(int(v.p), int(v.q))] for v in token]
        self.logit = product([list(row) for row in zip(*key, strict=True)], product(query, x))

    def sums(self, tokens: Rows) -> tuple[list[sympy.Expr], sympy.Expr]:
        scores = product([[row[0] for row in self.logit]], tokens)[0]
        weights = [sympy.exp(score) for score in scores]
        values = product(self.value, tokens)
        return [sympy.Add(*[v * e for v, e in zip(row, weights, strict=True)]) for row in values], sympy.Add(*weights)

    def output(self, tokens: Rows) -> list[sympy.Expr]:
        numerators, mass = self.sums(tokens)
        return [numerator / mass for numerator in numerators]

    def mixture(self, X: Rows, P: Rows) -> list[sympy.Expr]:
        (_, on_X), (_, on_P) = self.sums(X), self.sums(P)
        share = on_X / (on_X + on_P)
        return [share * a + (1 - share) * b for a, b in zip(self.output(X), self.output(P), strict=True)]


WAYS: dict[str, Callable[[sympy.Expr], bool]] = {
    "cancel": lambda difference: sympy.cancel(difference) == 0,
    "together": lambda difference: sympy.expand(sympy.numer(sympy.together(difference))) == 0,
    "simplify": lambda difference: sympy.simplify(difference) == 0,
}


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def capped(work: Callable[[], bool]) -> tuple[float, bool | None]:
    """Time and answer; None when the cap struck."""

    def stop(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, CAP)
    start = time.perf_counter()
    try:
        answer: bool | None = work()
    except TimeoutError:
        answer = None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return time.perf_counter() - start, answer


def our_equality(left: ExpFraction, right: ExpFraction) -> bool:
    return left == right


def instance(rng: random.Random, d: int, m: int) -> tuple[Head, list[fmpq], RationalMatrix, RationalMatrix]:
    """A head, a token and X, P whose scores are all different (equal ones would merge and make it easier)."""
    while True:
        head = Head(*[matrix(rng, d, d) for _ in range(4)])
        token, X, P = matrix(rng, d, 1).column(0), matrix(rng, d, m), matrix(rng, d, m)
        scores = [Fraction(str(s)) for tokens in (X, P) for s in HeadView.of(head, token, tokens).scores]
        if len(set(scores)) == 2 * m:
            return head, token, X, P


def measure(rng: random.Random, d: int, m: int) -> dict[str, float]:
    """Seconds by name; a way of sympy that was capped counts as the cap."""
    head, token, X, P = instance(rng, d, m)
    theirs = InSympy(head, token)
    X_s, P_s = in_sympy(X), in_sympy(P)
    sympy.core.cache.clear_cache()
    times: dict[str, float] = {}
    times["output ours"], ours = timed(lambda: HeadView.of(head, token, X).output)
    times["output sympy"], output = timed(lambda: theirs.output(X_s))
    for mine, other in zip(ours.column(0), output, strict=True):
        if abs(float(mine.enclosure().mid()) - float(other)) > 1e-9 * (1 + abs(float(other))):
            raise SystemExit(f"the outputs differ: {mine} and {other}")

    together = HeadView.of(head, token, P.hstack(X)).output
    mixture = split(head, token, X, P).mixture
    both = theirs.output([p + x for p, x in zip(P_s, X_s, strict=True)])
    mixed = theirs.mixture(X_s, P_s)
    difference = both[0] - mixed[0]
    times["equality ours"], answer = timed(lambda: our_equality(together[0, 0], mixture[0, 0]))
    if not answer or our_equality(together[0, 0], ours[0, 0]):
        raise SystemExit("our equality is wrong")
    for name, way in WAYS.items():
        sympy.core.cache.clear_cache()
        times[name], answer = capped(partial(way, difference))
        if answer is False:
            times[name] = float("inf")  # a wrong answer does not count
    times["equality sympy"] = min(times[name] for name in WAYS)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[3, 4, 6, 8])
    parser.add_argument("--tokens", type=int, default=4)
    parser.add_argument("--repetitions", type=int, default=3)
    args = parser.parse_args()
    print(f"one head, {args.tokens} context and {args.tokens} prompt tokens; medians of {args.repetitions}, in ms;")
    print(f"sympy {sympy.__version__}: equality by the fastest of {', '.join(WAYS)} that answers rightly (cap {CAP} s)")
    ways = "".join(f"{name:>11}" for name in WAYS)
    print(f"{'d':>3} {'output':>9} {'sympy':>9} {'ratio':>7} | {'equality':>9} {'sympy':>10} {'ratio':>8} |{ways}")
    measure(random.Random("warm up"), 2, 2)
    for d in args.widths:
        runs = [measure(random.Random(f"{d}/{k}"), d, args.tokens) for k in range(args.repetitions)]
        median = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        output = median["output sympy"] / median["output ours"]
        equality = median["equality sympy"] / median["equality ours"]
        ways = "".join(
            f"{'>' if median[name] >= CAP else '':>2}{1e3 * median[name]:>9.1f}"
            if median[name] < float("inf")
            else f"{'wrong':>11}"
            for name in WAYS
        )
        print(
            f"{d:>3} {1e3 * median['output ours']:>9.3f} {1e3 * median['output sympy']:>9.2f} {output:>6.0f}x |"
            f" {1e3 * median['equality ours']:>9.3f} {1e3 * median['equality sympy']:>10.1f} {equality:>7.0f}x |{ways}",
            flush=True,
        )


if __name__ == "__main__":
    main()
