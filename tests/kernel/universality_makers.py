"""Certificates of the claims about universality, and the same mathematics once more: in fractions and in mpmath."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cache
from itertools import product
from typing import Any

import kernel_certificates as make
from mpmath import mp, mpf

Json = Any


class Numbers:
    """delta, c, U, n, K of a grid, as the format defines them."""

    def __init__(self, d: int, m: int, k: int) -> None:
        self.d, self.m, self.k = d, m, k
        self.delta = Fraction(1, k)
        self.c = k**d
        self.U = sum(k**i for i in range(d))
        self.n = m * k ** (d * m) + m
        self.K = self.n * self.c

    def enough(self) -> int:
        """The bound of the shift condition."""
        return int(self.c**self.n * ((self.n - 1) * self.U * self.k + self.c))

    def ids(self, codes: Sequence[int]) -> list[Fraction]:
        return [j * self.U + a * self.delta for j, a in enumerate(codes)]

    def contexts(self) -> Iterator[tuple[int, ...]]:
        return product(range(self.c), repeat=self.n)

    def swept(self, codes: Sequence[int]) -> list[Fraction]:
        """By the recurrence of the format."""
        l, c = self.ids(codes), self.c
        new = [l[0] + c * (l[-1] - l[0])]
        for j in range(1, len(l)):
            new.append(c * new[j - 1] - (c - 1) * l[j])
        return new

    def simulated(self, codes: Sequence[int]) -> tuple[list[Fraction], int]:
        """Layer by layer, and how often a column was lifted; as many columns as there are codes."""
        l, lifted = self.ids(codes), 0
        for v in sorted({j * self.U + a * self.delta for j in range(len(codes)) for a in range(self.c)}):
            high, low = max(l), min(l)
            fires = [abs(x - v) < self.delta / 2 for x in l]
            lifted += sum(fires)
            l = [x + self.c * (high - low) if fire else x for x, fire in zip(l, fires, strict=True)]
        return l, lifted

    def final(self, codes: Sequence[int], G: int) -> list[Fraction]:
        swept = self.swept(codes)
        return [x + G * swept[-1] for x in swept]

    def read_ids(self, G: int) -> dict[Fraction, list[tuple[tuple[int, ...], int]]]:
        """Of every final id of a read column, where it occurs."""
        found: dict[Fraction, list[tuple[tuple[int, ...], int]]] = {}
        for codes in self.contexts():
            final = self.final(codes, G)
            for j in range(self.n - self.m, self.n):
                found.setdefault(final[j], []).append((codes, j))
        return found


def above(number: Fraction, p: Fraction, bits: int = 40) -> Fraction:
    """A rational a little above number^(1/p)."""
    with mp.workprec(bits + 100):
        x = mpf(number.numerator) / number.denominator
        root = Fraction(int(mp.ceil(x ** (mpf(p.denominator) / p.numerator) * 2**bits)), 2**bits)
    while root**p.numerator < number**p.denominator:
        root += Fraction(1, 2**bits)
    return root


def below(number: Fraction, p: Fraction, bits: int = 40) -> Fraction:
    """A rational a little below number^(1/p)."""
    root = above(number, p, bits)
    while root**p.numerator > number**p.denominator:
        root -= Fraction(1, 2**bits)
    return root


def roots(d: int, m: int, p: Fraction) -> tuple[Fraction, Fraction]:
    return above(Fraction(d * m), p), below(p + 1, p)


def error(k: int, L: Fraction, pair: tuple[Fraction, Fraction]) -> Fraction:
    return pair[0] / (2 * k) * (L / pair[1] + 1)


def quantisation(d: int, m: int, k: int, L: Json, p: Json, slack: Json = 0) -> Json:
    L, p = Fraction(L), Fraction(p)
    pair = roots(d, m, p)
    instance = {"d": d, "m": m, "k": k, "L": make.scalar(L), "p": make.scalar(p)}
    instance["bound"] = make.scalar(error(k, L, pair) + Fraction(slack))
    return make.certificate("quantisation", "error-bound", instance, {"roots": [make.scalar(r) for r in pair]})


def distinct(d: int, m: int, k: int, G: int, by: str) -> Json:
    instance = {"d": d, "m": m, "k": k, "G": make.integer(G)}
    return make.certificate("contextual-mapping", "distinct-ids", instance, {"by": by})


def collision(d: int, m: int, k: int, G: int, places: Sequence[tuple[Sequence[int], int]]) -> Json:
    instance = {"d": d, "m": m, "k": k, "G": make.integer(G)}
    witness = {"contexts": [list(codes) for codes, _ in places], "columns": [column for _, column in places]}
    return make.certificate("contextual-mapping", "collision", instance, witness)


@cache
def collisions(d: int, m: int, k: int, G: int) -> list[list[tuple[tuple[int, ...], int]]]:
    """All ids of read columns that occur more than once."""
    return [places for places in Numbers(d, m, k).read_ids(G).values() if len(places) > 1]


def network(kind: str, d: int, m: int, k: int, L: Fraction, p: Fraction, G: int, epsilon: Fraction) -> Json:
    instance = {"d": d, "m": m, "k": k, "G": make.integer(G), "L": make.scalar(L), "p": make.scalar(p)}
    instance["epsilon"] = make.scalar(epsilon)
    return make.certificate(f"universality-{kind}", "for-all", instance, {})


def hardmax(d: int, m: int, k: int, L: Json, p: Json, G: int | None = None, slack: Json = 0) -> Json:
    L, p = Fraction(L), Fraction(p)
    pair = roots(d, m, p)
    shift = (0 if m == 1 else Numbers(d, m, k).enough()) if G is None else G
    value = network("hardmax", d, m, k, L, p, shift, error(k, L, pair) + Fraction(slack))
    return {**value, "witness": {"roots": [make.scalar(r) for r in pair]}}


def softmax(
    d: int,
    m: int,
    k: int,
    L: Json,
    p: Json,
    epsilon_s: Json = "1/1000",
    epsilon_r: Json = "1/1000",
    *,
    G: int | None = None,
    t: Fraction | None = None,
    slack: Json = 0,
) -> Json:
    """The least t that is a multiple of 1/8, unless given; eta a multiple of 2^-60."""
    L, p, epsilon_s, epsilon_r = Fraction(L), Fraction(p), Fraction(epsilon_s), Fraction(epsilon_r)
    pair, root_m = roots(d, m, p), above(Fraction(m), p)
    shift = (0 if m == 1 else Numbers(d, m, k).enough()) if G is None else G
    with mp.workprec(300):
        power = mp.power(mpf(epsilon_r.numerator) / epsilon_r.denominator, mpf(p.numerator) / p.denominator)
        eta = Fraction(int(mp.floor(power * 2**60 / (d * d * m * m * k))), 2**60)
    eta = min(eta, Fraction(74, 100 * k))
    value = network(
        "softmax", d, m, k, L, p, shift, error(k, L, pair) + epsilon_s * root_m + epsilon_r + Fraction(slack)
    )
    t = least_t(d, m, k, shift, epsilon_s) if t is None else t
    witness: Json = {"root_m": root_m, "t": t, "eta": eta, "epsilon_s": epsilon_s, "epsilon_r": epsilon_r}
    witness = {name: make.scalar(number) for name, number in witness.items()}
    return {**value, "witness": {**witness, "roots": [make.scalar(r) for r in pair]}}


def sharp(d: int, m: int, k: int, G: int, epsilon_s: Fraction, t: Fraction) -> bool:
    """The condition on t, by logarithms of 400 bits."""
    s = Numbers(d, m, k)
    R = s.c**s.n * ((s.n - 1) * s.U + s.c * s.delta)
    kappa = min(Fraction(1, 4), epsilon_s / s.delta) / (1 + G)
    x = t * s.delta**2 * (Fraction(1, 2) - kappa) * (1 - 2 * kappa)
    F = s.c * (s.K + s.n)
    if t * s.delta**2 * (1 - 2 * kappa) >= 1:
        F = s.c * min(s.K + s.n, 4 * s.n + 2)
    left = ((1 + G) * (2 * s.c - 1) ** s.n * F + G) * R * (s.n - 1) / min(s.delta / 4, epsilon_s)
    with mp.workprec(400):
        logarithm = mp.log(mpf(left.numerator)) - mp.log(mpf(left.denominator))
        return bool(logarithm <= mpf(x.numerator) / x.denominator)


def least_t(d: int, m: int, k: int, G: int, epsilon_s: Fraction) -> Fraction:
    """The least multiple of 1/8 that is sharp, by bisection (from some t on all are)."""
    low, high = 0, 8
    while not sharp(d, m, k, G, epsilon_s, Fraction(high, 8)):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if sharp(d, m, k, G, epsilon_s, Fraction(middle, 8)):
            high = middle
        else:
            low = middle
    return Fraction(high, 8)


def softmax_ids(d: int, m: int, k: int, G: int, t: Fraction, codes: Sequence[int]) -> list[mpf]:
    """The ids after sweep and shift in the softmax network, layer by layer, at the precision of mpmath."""
    s = Numbers(d, m, k)
    l = [mpf(x.numerator) / x.denominator for x in s.ids(codes)]
    sharpness = mpf(t.numerator) / t.denominator

    def head(x: mpf, b: Fraction, ids: list[mpf]) -> mpf:
        scores = [sharpness * y * (x - mpf(b.numerator) / b.denominator) for y in ids]
        weights = [mp.exp(score - max(scores)) for score in scores]
        return sum(w * y for w, y in zip(weights, ids, strict=True)) / sum(weights)

    for j in range(s.n):
        for a in range(s.c):
            v = j * s.U + a * s.delta
            l = [x + s.c * (head(x, v - s.delta / 2, l) - head(x, v + s.delta / 2, l)) for x in l]
    return [x + G * head(x, Fraction(0), l) for x in l]
