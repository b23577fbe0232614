"""A second way to the preimage of an MLP: every activation pattern, as inequalities in z itself, by plain fractions.

Gauss elimination for the equation of a pattern, Fourier-Motzkin elimination for its inequalities. Nothing of the
linear complementarity form, of linear programming or of flint is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import product

from layer_instances import fractions, rows

from constructions.transformer import FeedForward

Vector = list[Fraction]
Inequality = tuple[Vector, Fraction]  # (a, b): a·t ≤ b


def dot(u: Vector, v: Vector) -> Fraction:
    return sum((a * b for a, b in zip(u, v, strict=True)), Fraction(0))


def solutions(equations: list[Inequality], n: int) -> tuple[Vector, list[Vector]] | None:
    """A point and a basis of directions of {z ∈ Q^n : a·z = b}, or None when it is empty."""
    table = [[*a, b] for a, b in equations]
    pivots: list[int] = []
    for column in range(n):
        found = next((i for i in range(len(pivots), len(table)) if table[i][column]), None)
        if found is None:
            continue
        top = len(pivots)
        table[top], table[found] = table[found], table[top]
        table[top] = [x / table[top][column] for x in table[top]]
        for i, row in enumerate(table):
            if i != top and row[column]:
                table[i] = [x - row[column] * y for x, y in zip(row, table[top], strict=True)]
        pivots.append(column)
    if any(row[n] for row in table[len(pivots) :]):
        return None
    point = [Fraction(0)] * n
    for row, column in zip(table, pivots, strict=False):
        point[column] = row[n]
    basis = []
    for free in (j for j in range(n) if j not in pivots):
        direction = [Fraction(0)] * n
        direction[free] = Fraction(1)
        for row, column in zip(table, pivots, strict=False):
            direction[column] = -row[free]
        basis.append(direction)
    return point, basis


def eliminate(system: list[Inequality], k: int) -> list[Inequality]:
    """The shadow of {t : a·t ≤ b} on all coordinates but k (Fourier-Motzkin), with coefficient 0 at k."""
    below = [(a, b) for a, b in system if a[k] < 0]
    above = [(a, b) for a, b in system if a[k] > 0]
    shadow = {(tuple(a), b) for a, b in system if a[k] == 0}
    for a, b in above:
        for c, e in below:
            shadow.add(
                (tuple(x / a[k] - y / c[k] for x, y in zip(a, c, strict=True)), b / a[k] - e / c[k])
            )  # fmt: skip
    return [(list(a), b) for a, b in shadow]


def interval(system: list[Inequality], k: int, n: int) -> tuple[Fraction | None, Fraction | None] | None:
    """The exact range of t_k over the polyhedron (None for an infinite end), or None when it is empty."""
    for j in range(n):
        if j != k:
            system = eliminate(system, j)
    if any(b < 0 for a, b in system if a[k] == 0):
        return None
    high = min((b / a[k] for a, b in system if a[k] > 0), default=None)
    low = max((b / a[k] for a, b in system if a[k] < 0), default=None)
    return None if high is not None and low is not None and low > high else (low, high)


@dataclass(frozen=True)
class Pattern:
    """The z with these units active (pre-activation ≥ 0) and the others not (≤ 0) that the MLP maps to the target:
    ``z = point + Σ t_k basis[k]`` with the inequalities on t. Not empty."""

    active: tuple[bool, ...]
    point: Vector
    basis: list[Vector]
    inequalities: list[Inequality]

    @property
    def only_point(self) -> Vector | None:
        """The one z of this pattern, or None when there are infinitely many."""
        n = len(self.basis)
        z = list(self.point)
        for k in range(n):
            ends = interval(self.inequalities, k, n)
            assert ends is not None
            if ends[0] is None or ends[0] != ends[1]:
                return None
            z = [x + ends[0] * e for x, e in zip(z, self.basis[k], strict=True)]
        return z

    def largest(self, w: Vector) -> Fraction | None:
        """The largest w·z, None when there is none: one more coordinate m with m ≤ w·z, and its upper end."""
        n = len(self.basis)
        system = [([*a, Fraction(0)], b) for a, b in self.inequalities]
        system.append(([*(-dot(w, e) for e in self.basis), Fraction(1)], dot(w, self.point)))
        ends = interval(system, n, n + 1)
        assert ends is not None
        return ends[1]


def patterns(mlp: FeedForward, y: list[Fraction]) -> list[Pattern]:
    """All patterns that are not empty, of the 2^r."""
    W_1, W_2 = rows(mlp.W_1), rows(mlp.W_2)
    b_1, b_2 = fractions(mlp.b_1.column(0)), fractions(mlp.b_2.column(0))
    d, r = mlp.width, mlp.hidden
    found = []
    for active in product((True, False), repeat=r):
        on = [i for i in range(r) if active[i]]
        # z + W_2 (W_1 z + b_1 on the active units) + b_2 = y
        equations = [
            (
                [Fraction(int(j == k)) + sum((W_2[j][i] * W_1[i][k] for i in on), Fraction(0)) for k in range(d)],
                y[j] - b_2[j] - sum((W_2[j][i] * b_1[i] for i in on), Fraction(0)),
            )
            for j in range(d)
        ]
        solved = solutions(equations, d)
        if solved is None:
            continue
        point, basis = solved
        system = []
        for i in range(r):
            sign = -1 if active[i] else 1  # active: −(W_1 z + b_1)_i ≤ 0
            system.append(([sign * dot(W_1[i], e) for e in basis], -sign * (dot(W_1[i], point) + b_1[i])))
        empty = interval(system, 0, len(basis)) is None if basis else any(b < 0 for _, b in system)
        if not empty:
            found.append(Pattern(active, point, basis, system))
    return found


def all_points(found: list[Pattern]) -> set[tuple[Fraction, ...]] | None:
    """The preimage as a set of points, or None when it is infinite."""
    points = [pattern.only_point for pattern in found]
    if any(z is None for z in points):
        return None
    return {tuple(z) for z in points if z is not None}
