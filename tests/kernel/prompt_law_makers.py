"""Certificates of the claim prompt-law made by hand: data in fractions, covers by bisection in floats.

Nothing here is taken from the kernel or the package: the loss and its curve are a reading of the format of their own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise, product
from math import exp, log
from typing import Any

import kernel_certificates as make
import mpmath
import numpy as np
from numpy.typing import NDArray

Json = Any
Floats = NDArray[np.float64]
Row = list[Fraction]


def above(value: mpmath.mpf, digits: int) -> Fraction:
    """The least decimal with so many digits after the point that is above the value."""
    exact = Fraction(*mpmath.libmp.to_rational(value._mpf_))
    return Fraction(int(exact * 10**digits) + 1, 10**digits)


def row(values: Sequence[Json]) -> Row:
    return [Fraction(value) for value in values]


def dot(u: Sequence[Fraction], v: Sequence[Fraction]) -> Fraction:
    return sum((x * y for x, y in zip(u, v, strict=True)), Fraction(0))


@dataclass
class Problem:
    """One head with q and V (identity unless given); query k has the columns contexts[k], the last is its token,
    and wants one of points[k]."""

    q: Row
    contexts: list[list[Row]]
    points: list[list[Row]]
    length: int | None = None
    V: list[Row] | None = None
    g: Row | None = None
    orthogonal: list[list[Row]] | None = None
    mlp: Json = None
    proofs: list[Json] | None = None
    targets: list[Row] | None = None
    reference: Fraction = field(default_factory=Fraction)

    @property
    def d(self) -> int:
        return len(self.q)

    @property
    def matrix(self) -> list[Row]:
        return self.V or [row(r) for r in make.identity(self.d)]

    def instance(self) -> Json:
        d = self.d
        W_k = [self.q, *make.zeros(d - 1, d)]
        head = make.head(d, W_q=make.zeros(d, d), W_k=W_k, W_v=self.matrix, b_q=[1] + [0] * (d - 1))
        targets = self.targets or [points[0] for points in self.points]
        queries = [
            make.query([list(r) for r in zip(*columns, strict=True)], len(columns) - 1, y)
            for columns, y in zip(self.contexts, targets, strict=True)
        ]
        layer = make.layer([head], self.mlp or make.mlp(d))
        length = None if self.length is None else make.integer(self.length)
        return {"layer": layer, "queries": queries, "length": length}

    def preimages(self) -> list[Json]:
        return self.proofs or [make.point(points[0]) for points in self.points]

    # --- floats -----------------------------------------------------------------------------------------------

    def shifted(self, choice: Sequence[int]) -> list[Row]:
        return [
            [z - x for z, x in zip(points[i], columns[-1], strict=True)]
            for points, columns, i in zip(self.points, self.contexts, choice, strict=True)
        ]

    def choices(self) -> list[tuple[int, ...]]:
        return list(product(*(range(len(points)) for points in self.points)))

    def curve(self, choice: Sequence[int]) -> "Curve":
        V, q, rho = np.array(self.matrix, float), np.array(self.q, float), float(self.reference)
        tokens = [np.array(columns, float) for columns in self.contexts]
        weights = [np.exp(t @ q - rho) for t in tokens]
        a = np.array(self.shifted(choice), float)
        constant = 0.0
        if self.orthogonal is not None:
            r = np.array([parts[i] for parts, i in zip(self.orthogonal, choice, strict=True)], float)
            a, constant = a - r, float((r**2).sum())
        S = np.array([w.sum() for w in weights])
        C = np.array([w @ (t @ V.T) for w, t in zip(weights, tokens, strict=True)]) - S[:, None] * a
        g = None if self.g is None else np.array(self.g, float)
        return Curve(S, C, a, g, rho, None if self.length is None else log(self.length), constant)

    def loss(self, tokens: Sequence[Sequence[Json]], counts: Sequence[int], digits: int = 60) -> mpmath.mpf:
        """The loss of a prompt, to many digits."""
        with mpmath.workdps(digits):
            number = lambda x: mpmath.mpf(Fraction(x).numerator) / Fraction(x).denominator  # noqa: E731
            V = [[number(x) for x in r] for r in self.matrix]
            prompt = [([number(x) for x in t], n) for t, n in zip(tokens, counts, strict=True)]
            total = mpmath.mpf(0)
            for columns, points in zip(self.contexts, self.points, strict=True):
                everything = prompt + [([number(x) for x in t], 1) for t in columns]
                masses = [
                    n * mpmath.exp(sum(number(x) * y for x, y in zip(self.q, t, strict=True))) for t, n in everything
                ]
                mean = [
                    sum(m * t[c] for m, (t, _) in zip(masses, everything, strict=True)) / sum(masses)
                    for c in range(self.d)
                ]
                out = [sum(x * y for x, y in zip(r, mean, strict=True)) for r in V]
                x = columns[-1]
                total += min(sum((o - number(z[c] - x[c])) ** 2 for c, o in enumerate(out)) for z in points)
            return total

    def loss_at(self, log_mass: Fraction, mean: Row) -> mpmath.mpf:
        """The loss of a prompt with this mass and mean (V = 1, one point for each query)."""
        with mpmath.workdps(60):
            number = lambda x: mpmath.mpf(Fraction(x).numerator) / Fraction(x).denominator  # noqa: E731
            total = mpmath.mpf(0)
            for columns, points in zip(self.contexts, self.points, strict=True):
                everything = [(mpmath.exp(number(log_mass)), mean)]
                everything += [(mpmath.exp(number(dot(self.q, t))), t) for t in columns]
                mass = sum(m for m, _ in everything)
                for c in range(self.d):
                    out = sum(m * number(t[c]) for m, t in everything) / mass
                    total += (out - number(points[0][c] - columns[-1][c])) ** 2
            return total


@dataclass
class Curve:
    """The least loss at mass e^{rho + sigma}, in floats."""

    S: Floats
    C: Floats
    a: Floats
    g: Floats | None
    rho: float
    log_length: float | None
    constant: float

    def parts(self, sigma: float) -> tuple[float, Floats, float]:
        """The value, the best v in the slab, beta."""
        alpha, beta = (1.0, exp(sigma)) if sigma <= 0 else (exp(-sigma), 1.0)
        w = 1 / (alpha * self.S + beta) ** 2
        y = beta * self.a - alpha * self.C
        v = w @ y / w.sum()
        if self.g is not None:
            high = beta * (self.rho + sigma)
            low = -np.inf if self.log_length is None else high - beta * self.log_length
            at = self.g @ v
            v = v + (np.clip(at, low, high) - at) / (self.g @ self.g) * self.g
        return float(w @ ((y - v) ** 2).sum(axis=1)) + self.constant, v, beta

    def __call__(self, sigma: float) -> float:
        return self.parts(sigma)[0]

    def scale(self, sigma: float) -> float:
        """How large the terms of the derivative are."""
        alpha, beta = (1.0, exp(sigma)) if sigma <= 0 else (exp(-sigma), 1.0)
        w = 1 / (alpha * self.S + beta) ** 2
        z = beta * self.a if sigma <= 0 else alpha * self.C
        z = z - w @ z / w.sum()
        value = self(sigma) - self.constant
        share = float(
            (beta / (alpha * self.S + beta)).max() if sigma <= 0 else (alpha * self.S / (alpha * self.S + beta)).max()
        )
        size = share * value + (value * float(w @ (z**2).sum(axis=1))) ** 0.5
        if self.g is not None:
            bound = (
                beta * (abs(self.rho + sigma) + 1 + (self.log_length or 0))
                + abs((beta * self.a if sigma <= 0 else alpha * self.C) @ self.g).max()
            )
            size += (value * w.sum() / float(self.g @ self.g)) ** 0.5 * bound
        return size

    def minimum(self, left: float = -25.0, right: float = 25.0, steps: int = 1500) -> tuple[float, float]:
        """(sigma, value) of the least value."""
        grid = np.linspace(left, right, steps)
        values = [self(x) for x in grid]
        k = int(np.argmin(values))
        low, high = grid[max(k - 1, 0)], grid[min(k + 1, len(grid) - 1)]
        for _ in range(80):
            x, y = low + (high - low) * 0.382, low + (high - low) * 0.618
            low, high = (low, y) if self(x) <= self(y) else (x, high)
        best = min((self(x), x) for x in (low, high, (low + high) / 2))
        return best[1], best[0]

    def cover(self, lower: float, left: float, right: float, care: float = 4.0) -> list[Fraction]:
        """Breakpoints from left to right; `care` is how much more than its size a slope may be overestimated."""
        result, todo = [left], [(left, right)]
        while todo:
            begin, end = todo.pop()
            width = end - begin
            samples = np.linspace(begin, end, 9)
            values = [self(x) for x in samples]
            steep = max(abs(y - x) for x, y in pairwise(values)) / width * 8
            scale = max(self.scale(x) for x in samples[::2])
            if width < 4 and values[4] - (1.1 * steep + care * width * scale) * width / 2 >= lower:
                result.append(end)
            else:
                assert width > 1e-7, (begin, end, values, lower)
                todo += [((begin + end) / 2, end), (begin, (begin + end) / 2)]
        return [Fraction(x) for x in result]


def bounds(
    problem: Problem,
    lower: Json,
    covers: list[Json],
    upper: Json = None,
    *,
    precision: int = 96,
    **others: Json,
) -> Json:
    N, g = problem.length, problem.g
    zero = [[[0] * problem.d for _ in points] for points in problem.points]
    log_length = None
    if N is not None and g is not None:
        middle = Fraction(log(N))
        log_length = [make.scalar(middle - Fraction(1, 2**40)), make.scalar(middle + Fraction(1, 2**40))]
    witness = {
        "preimages": problem.preimages(),
        "reference": make.scalar(problem.reference),
        "g": None if g is None else make.vector(g),
        "log_length": log_length,
        "orthogonal": [[make.vector(r) for r in parts] for parts in problem.orthogonal or zero],
        "precision": precision,
        "lower": {"value": make.scalar(lower), "covers": covers},
        "upper": upper,
    }
    certificate = make.certificate("prompt-law", "loss-bounds", problem.instance(), {**witness, **others})
    return {**certificate, "evidence": "enclosed"}


def cover(breakpoints: Sequence[Json], integers: int | None = None) -> Json:
    return {"integers": integers, "breakpoints": make.vector(list(breakpoints))}


def prompt(value: Json, tokens: Sequence[Sequence[Json]], counts: Sequence[int]) -> Json:
    """Tokens are rows here, columns in the file."""
    return {
        "value": make.scalar(value),
        "tokens": make.matrix([list(r) for r in zip(*tokens, strict=True)]),
        "counts": [make.integer(n) for n in counts],
    }


def law_point(value: Json, mean: Sequence[Json], sigma: Json) -> Json:
    return {"value": make.scalar(value), "mean": make.vector(list(mean)), "sigma": make.scalar(sigma)}


def best_lower(problem: Problem, gap: float = 1e-4) -> tuple[Fraction, float]:
    """A lower bound that can be shown, and the least loss."""
    least = min(problem.curve(choice).minimum()[1] for choice in problem.choices())
    return Fraction(round(least * (1 - gap) * 10**12), 10**12), least


def curve_certificate(
    problem: Problem, lower: Fraction, left: float = -20.0, right: float = 20.0, care: float = 4.0, **others: Json
) -> Json:
    covers = [cover(problem.curve(choice).cover(float(lower), left, right, care)) for choice in problem.choices()]
    return bounds(problem, lower, covers, **others)


def decision(relation: str, problem: Problem, witness: Json) -> Json:
    return make.certificate("prompt-law", relation, problem.instance(), witness)


def no_prompt(problem: Problem, *arguments: Json, g: Json = None) -> Json:
    witness = {
        "preimages": problem.preimages(),
        "g": None if g is None else make.vector(g),
        "combinations": [dict(argument) for argument in arguments],
    }
    return decision("no-prompt-memorizes", problem, witness)


def memorizable(
    problem: Problem, sources: list[Json], *, free: Json = None, g: Json = None, equation: Json = None
) -> Json:
    witness = {
        "points": [make.vector(points[0]) for points in problem.points],
        "sources": [make.vector(source) for source in sources],
        "free": None if free is None else make.vector(free),
        "g": None if g is None else make.vector(g),
        "equation": equation,
    }
    return decision("memorizable", problem, witness)


def sealed_verdict(value: Json) -> tuple[str, str]:
    """Verdict and text of the kernel, without a file."""
    import verdict

    original: Callable[[str], bytes] = verdict.read_file
    verdict.read_file = lambda _: make.seal(value)
    try:
        answer = verdict.judge("x")
    finally:
        verdict.read_file = original
    return answer.verdict, answer.text
