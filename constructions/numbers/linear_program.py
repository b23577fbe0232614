"""Linear programs over the rationals: the caller's data, the same rows as integers, the answers, and their check.

Throughout, ``x`` is free in sign, ``G`` has shape (g, n), ``h`` length g, ``E`` shape (e, n) and ``f`` length e.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from flint import fmpq, fmpq_mat, fmpz, fmpz_mat

__all__ = [
    "Feasible",
    "Infeasible",
    "Optimal",
    "Problem",
    "Unbounded",
    "dot",
    "holds",
    "infeasible",
    "solve",
    "times",
    "transpose",
]


@dataclass(frozen=True)
class Feasible:
    """A ``point`` with G point <= h and E point = f."""

    point: list[fmpq]


@dataclass(frozen=True)
class Infeasible:
    """Farkas' proof that G x <= h, E x = f has no solution.

    ``farkas`` >= 0, farkas^T G + farkas_equalities^T E = 0, and
    farkas.h + farkas_equalities.f < 0.
    """

    farkas: list[fmpq]
    farkas_equalities: list[fmpq]


@dataclass(frozen=True)
class Optimal:
    """A feasible ``point`` with c.point = ``value``, and the multipliers that prove it optimal.

    ``multipliers`` >= 0, multipliers^T G + multipliers_equalities^T E = c, and
    multipliers.h + multipliers_equalities.f = value.
    """

    point: list[fmpq]
    value: fmpq
    multipliers: list[fmpq]
    multipliers_equalities: list[fmpq]


@dataclass(frozen=True)
class Unbounded:
    """A feasible ``point`` and a ``ray`` with G ray <= 0, E ray = 0, c.ray > 0."""

    point: list[fmpq]
    ray: list[fmpq]


# ---------------------------------------------------------------------------------------------
# The problem, as given and as integers


@dataclass(frozen=True)
class Problem:
    """The caller's data, and the same rows as integers: row i of A x (<= or =) b is
    ``scale[i]`` > 0 times row i of G (the first ``g`` rows) or of E (the rest)."""

    G: fmpq_mat
    h: list[fmpq]
    E: fmpq_mat
    f: list[fmpq]
    A: fmpz_mat
    b: list[fmpz]
    scale: list[fmpq]
    rows: list[list[fmpz]]

    @property
    def g(self) -> int:
        return self.G.nrows()

    @property
    def n(self) -> int:
        return self.G.ncols()

    @staticmethod
    def build(G: fmpq_mat, h: Sequence[fmpq], E: fmpq_mat | None, f: Sequence[fmpq] | None) -> Problem:
        if (E is None) != (f is None):
            raise ValueError(f"E and f go together: E is {_given(E)}, f is {_given(f)}")
        n = G.ncols()
        E = fmpq_mat(0, n) if E is None else E
        right, equal = [fmpq(v) for v in h], [fmpq(v) for v in f or ()]
        if len(right) != G.nrows():
            raise ValueError(f"length of h: expected {G.nrows()} (the rows of G), found {len(right)}")
        if E.ncols() != n:
            raise ValueError(f"columns of E: expected {n} (the columns of G), found {E.ncols()}")
        if len(equal) != E.nrows():
            raise ValueError(f"length of f: expected {E.nrows()} (the rows of E), found {len(equal)}")
        rows: list[list[fmpz]] = []
        b: list[fmpz] = []
        scale: list[fmpq] = []
        for matrix, vector in ((G, right), (E, equal)):
            numerators, denominator = matrix.numer_denom()
            whole = reduce(fmpz.lcm, (v.q for v in vector), denominator)
            numerators *= whole // denominator
            bounds = [v.p * (whole // v.q) for v in vector]
            table = numerators.tolist() if n else [[] for _ in vector]
            for row, bound in zip(table, bounds, strict=True):
                # One denominator for all rows is quick to find but makes long rows; shorten them.
                divisor = reduce(fmpz.gcd, row, bound) if whole != 1 else fmpz(1)
                if divisor > 1:
                    row, bound = [v // divisor for v in row], bound // divisor
                rows.append(row)
                b.append(bound)
                scale.append(fmpq(whole, divisor) if divisor > 1 else fmpq(whole))
        A = fmpz_mat(len(rows), n, [v for row in rows for v in row])
        return Problem(G, right, E, equal, A, b, scale, rows)

    def split(self, y: Sequence[fmpq]) -> tuple[list[fmpq], list[fmpq]]:
        """Multipliers of the integer rows as multipliers of the rows of G and of E."""
        given = [v * s for v, s in zip(y, self.scale, strict=True)]
        return given[: self.g], given[self.g :]

    def excess(self, x: Sequence[fmpq]) -> list[fmpq]:
        """A x - b: feasible when <= 0 in the first g entries and 0 in the rest."""
        return [v - w for v, w in zip(times(self.A, x), self.b, strict=True)]

    def admits(self, x: Sequence[fmpq]) -> bool:
        excess = self.excess(x)
        return all(v <= 0 for v in excess[: self.g]) and all(v == 0 for v in excess[self.g :])


def _given(value: object) -> str:
    return "missing" if value is None else "given"


def times(A: fmpz_mat, x: Sequence[fmpq]) -> list[fmpq]:
    """A x, through one common denominator."""
    numerators, denominator = fmpq_mat(len(x), 1, list(x)).numer_denom()
    return [fmpq(v, denominator) for v in (A * numerators).entries()]


def dot(u: Sequence[fmpq], v: Sequence[fmpq]) -> fmpq:
    return sum((a * b for a, b in zip(u, v, strict=True)), fmpq(0))


def solve(rows: Sequence[Sequence[fmpz]], right: Sequence[fmpz | fmpq | int]) -> list[fmpq]:
    """The solution of the square system rows x = right; ZeroDivisionError where it is singular."""
    k = len(rows)
    numerators, denominator = fmpq_mat(k, 1, list(right)).numer_denom()
    matrix = fmpz_mat(k, k, [v for row in rows for v in row])
    return [v / denominator for v in matrix.solve(numerators).entries()]


def transpose(rows: Sequence[Sequence[fmpz]]) -> list[list[fmpz]]:
    return [list(column) for column in zip(*rows, strict=True)]


def infeasible(problem: Problem, y: Sequence[fmpq]) -> Infeasible:
    """Farkas' proof from multipliers of the integer rows, lengthened to coprime integers."""
    given, _ = fmpq_mat(1, len(y), [v for part in problem.split(y) for v in part]).numer_denom()
    content = reduce(fmpz.gcd, given.entries(), fmpz(0))
    whole = [fmpq(v, content) for v in given.entries()]
    return Infeasible(whole[: problem.g], whole[problem.g :])


# ---------------------------------------------------------------------------------------------
# The check, on the caller's own data


def holds(problem: Problem, found: Feasible | Infeasible | Optimal | Unbounded, c: Sequence[fmpq] = ()) -> bool:
    """Whether everything the class of ``found`` promises is true, exactly."""
    G, h, E, f, n = problem.G, problem.h, problem.E, problem.f, problem.n

    def satisfied(x: list[fmpq], right: Sequence[fmpq], equal: Sequence[fmpq]) -> bool:
        if len(x) != n:
            return False
        column = fmpq_mat(n, 1, x)
        below = zip((G * column).entries(), right, strict=True)
        on = zip((E * column).entries(), equal, strict=True)
        return all(v <= w for v, w in below) and all(v == w for v, w in on)

    def combination(y: list[fmpq], z: list[fmpq]) -> list[fmpq] | None:
        if (len(y), len(z)) != (len(h), len(f)) or any(v < 0 for v in y):
            return None
        return (fmpq_mat(1, len(y), y) * G + fmpq_mat(1, len(z), z) * E).entries()

    if isinstance(found, Feasible):
        return satisfied(found.point, h, f)
    if isinstance(found, Infeasible):
        y, z = found.farkas, found.farkas_equalities
        return combination(y, z) == [fmpq(0)] * n and dot(y, h) + dot(z, f) < 0
    if isinstance(found, Unbounded):
        level = satisfied(found.ray, [fmpq(0)] * len(h), [fmpq(0)] * len(f))
        return level and satisfied(found.point, h, f) and dot(c, found.ray) > 0
    y, z = found.multipliers, found.multipliers_equalities
    dual = combination(y, z) == list(c) and dot(y, h) + dot(z, f) == found.value
    return dual and satisfied(found.point, h, f) and dot(c, found.point) == found.value
