"""Exact linear programming over the rationals.

A float solver (HiGHS) names a basis; one exact solve turns the basis into a rational point or
multiplier vector; an exact product checks it against the caller's own data. Where the named basis
does not pass (tolerances, near-degenerate or ill-scaled data), a simplex method in rationals goes
on from it. Its stalls are run by Bland's rule, so it ends: every call returns a true answer, and
floats decide only how soon.

Throughout, ``x`` is free in sign, ``G`` has shape (g, n), ``h`` length g, ``E`` shape (e, n) and
``f`` length e; ``E`` and ``f`` are given together or not at all. Sizes that do not match raise
``ValueError``.
"""

from __future__ import annotations

from collections.abc import Sequence

from flint import fmpq, fmpq_mat, fmpz

from constructions.numbers.float_basis import named_basis
from constructions.numbers.linear_program import (
    Feasible,
    Infeasible,
    Optimal,
    Problem,
    Unbounded,
    dot,
    holds,
    infeasible,
    solve,
    transpose,
)
from constructions.numbers.simplex import phase_one, simplex

__all__ = ["Feasible", "Infeasible", "Optimal", "Unbounded", "feasible", "maximize"]


def feasible(
    G: fmpq_mat, h: Sequence[fmpq], E: fmpq_mat | None = None, f: Sequence[fmpq] | None = None
) -> Feasible | Infeasible:
    """Solve G x <= h, E x = f, or prove that it has no solution.

    >>> from flint import fmpq, fmpq_mat
    >>> G = fmpq_mat([[1, 1], [-1, 0], [0, -1]])                # x + y <= h_1, x >= 1, y >= 1/3
    >>> feasible(G, [fmpq(4, 3), fmpq(-1), fmpq(-1, 3)])
    Feasible(point=[1, 1/3])
    >>> feasible(G, [fmpq(1), fmpq(-1), fmpq(-1, 3)]).farkas    # the sum of the rows says 0 <= -1/3
    [1, 1, 1]
    """
    problem = Problem.build(G, h, E, f)
    found = _decide(problem)
    if not holds(problem, found):  # never expected: the exact method has gone wrong
        raise ArithmeticError(f"exact check failed for {found}")
    return found


def maximize(
    c: Sequence[fmpq],
    G: fmpq_mat,
    h: Sequence[fmpq],
    E: fmpq_mat | None = None,
    f: Sequence[fmpq] | None = None,
) -> Optimal | Infeasible | Unbounded:
    """Maximize c.x subject to G x <= h, E x = f; ``c`` has length n.

    >>> from flint import fmpq, fmpq_mat
    >>> G, h = fmpq_mat([[3, 1], [1, 2], [-1, 0]]), [fmpq(4), fmpq(3), fmpq(0)]
    >>> maximize([fmpq(1), fmpq(1)], G, h)
    Optimal(point=[1, 1], value=2, multipliers=[1/5, 2/5, 0], multipliers_equalities=[])
    >>> maximize([fmpq(0), fmpq(-1)], G, h).ray
    [0, -1]
    """
    problem = Problem.build(G, h, E, f)
    cost = [fmpq(entry) for entry in c]
    if len(cost) != problem.n:
        raise ValueError(f"length of c: expected {problem.n} (the columns of G), found {len(cost)}")
    found = _optimize(problem, cost)
    if not holds(problem, found, cost):  # never expected, as above
        raise ArithmeticError(f"exact check failed for {found}")
    return found


# ---------------------------------------------------------------------------------------------
# From a basis to an answer


def _decide(problem: Problem) -> Feasible | Infeasible:
    n, g = problem.n, problem.g
    basis = named_basis(problem, None)
    working, x = [-1 - j for j in range(n)], [fmpq(0)] * n
    if basis is not None:
        square = [[problem.rows[i][j] for j in basis.columns] for i in basis.rows]
        right = [problem.b[i] for i in basis.rows]
        if basis.violated:  # The column of t. Its scale does not matter: the combinations of these
            # rows that vanish on the columns are the multiples of one, which is Farkas' or not.
            square = [[*row, -fmpz(i < g)] for row, i in zip(square, basis.rows, strict=True)]
        try:
            if basis.violated:
                y = solve(transpose(square), [0] * len(basis.columns) + [-1])
                if all(v >= 0 for v, i in zip(y, basis.rows, strict=True) if i < g):
                    proof = infeasible(problem, _spread(y, basis.rows, len(problem.rows)))
                    if holds(problem, proof):
                        return proof
            x = _spread(solve(square, right)[: len(basis.columns)], basis.columns, n)
            if problem.admits(x):
                return Feasible(x)
            working = basis.rows + [-1 - j for j in range(n) if j not in set(basis.columns)]
        except ZeroDivisionError:  # regular in floats only
            working, x = [-1 - j for j in range(n)], [fmpq(0)] * n
    return phase_one(problem, working, x)


def _optimize(problem: Problem, c: list[fmpq]) -> Optimal | Infeasible | Unbounded:
    n, m = problem.n, len(problem.rows)
    numerators, denominator = fmpq_mat(n, 1, c).numer_denom()
    cost = [fmpz(v) for v in numerators.entries()]
    named = named_basis(problem, cost)
    start: tuple[list[int], list[fmpq]] | None = None
    if named is not None:
        rows, columns = named.rows, named.columns
        square = [[problem.rows[i][j] for j in columns] for i in rows]
        try:
            x = _spread(solve(square, [problem.b[i] for i in rows]), columns, n)
            if problem.admits(x):
                y = solve(transpose(square), [c[j] for j in columns])
                result = _optimal(problem, c, x, _spread(y, rows, m))
                if holds(problem, result, c):
                    return result
                pins = [-1 - j for j in range(n) if j not in set(columns)]
                start = rows + pins, x
        except ZeroDivisionError:  # regular in floats only
            pass
    if start is None:
        found = _decide(problem)
        if isinstance(found, Infeasible):
            return found
        if named is None:  # HiGHS found no optimum: there may be none
            down = fmpq_mat(problem.g + 1, n, problem.G.entries() + [-v for v in c])
            level = Problem.build(down, [fmpq(0)] * problem.g + [fmpq(-1)], problem.E, [fmpq(0)] * len(problem.f))
            ray = _decide(level)
            if isinstance(ray, Feasible):
                return Unbounded(found.point, ray.point)
        start = [-1 - j for j in range(n)], found.point
    end = simplex(problem.A, problem.b, problem.g, [fmpq(v) for v in cost], *start)
    if end.ray is not None:
        return Unbounded(end.x, end.ray)
    return _optimal(problem, c, end.x, [v / denominator for v in end.multipliers])


def _optimal(problem: Problem, c: list[fmpq], x: list[fmpq], y: list[fmpq]) -> Optimal:
    return Optimal(x, dot(c, x), *problem.split(y))


def _spread(values: Sequence[fmpq], places: Sequence[int], length: int) -> list[fmpq]:
    spread = [fmpq(0)] * length
    for value, place in zip(values, places, strict=True):
        spread[place] = value
    return spread
