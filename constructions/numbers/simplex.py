"""The simplex method in rationals, and phase one on top of it.

Stalls are run by Bland's rule, so the method ends from whatever basis it starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flint import fmpq, fmpq_mat, fmpz, fmpz_mat

from constructions.numbers.linear_program import Feasible, Infeasible, Problem, infeasible, solve, times, transpose

__all__ = ["End", "phase_one", "simplex"]


@dataclass(frozen=True)
class End:
    """Where the simplex method stops: multipliers of all rows at an optimum, else a ray."""

    x: list[fmpq]
    multipliers: list[fmpq]
    ray: list[fmpq] | None


def simplex(
    A: fmpz_mat,
    b: Sequence[fmpz],
    g: int,
    c: Sequence[fmpq],
    working: Sequence[int],
    x: Sequence[fmpq],
    last: int | None = None,
) -> End:
    """Maximize c.x over A x <= b (first g rows), A x = b (the rest), from a feasible x.

    ``working``: n independent constraints that hold with equality at x: row numbers, and -1 - j
    for "x_j stays where it is", a pin. Pins and equalities change sides at most once each. Between
    those changes the objective grows, or Bland's rule (least index in, least index out) runs until
    it does; so no working set comes twice and the method ends. ``last`` names a row where to stop
    once it holds with equality.
    """
    m, n = A.nrows(), A.ncols()
    rows = A.tolist() if n else [[] for _ in range(m)]
    working, x = list(working), list(x)
    slack = [w - v for v, w in zip(times(A, x), b, strict=True)]
    bland = False
    while True:
        square = [rows[i] if i >= 0 else [fmpz(j == -1 - i) for j in range(n)] for i in working]
        y = solve(transpose(square) if n else [], list(c))
        free = [k for k, i in enumerate(working) if (i < 0 and y[k] != 0) or (0 <= i < g and y[k] < 0)]
        if not free or (last is not None and last in working):
            multipliers = [fmpq(0)] * m
            for k, i in enumerate(working):
                if i >= 0:
                    multipliers[i] = y[k]
            return End(x, multipliers, None)
        choice = [(working[k] if bland else -abs(y[k]), k) for k in free]
        leaving = min(choice)[1]
        right = [0] * n
        right[leaving] = 1 if y[leaving] > 0 else -1
        direction = solve(square, right)
        speed = times(A, direction)
        held = set(working)
        step: fmpq | None = None
        entering = -1
        for i in range(m - 1, -1, -1):  # so that ties go to the least index, equalities first
            if i in held or speed[i] == 0 or (i < g and speed[i] < 0):
                continue
            reach = slack[i] / speed[i] if i < g else fmpq(0)
            if step is None or reach < step or (reach == step and entering < g and entering != last):
                step, entering = reach, i
        if step is None:
            return End(x, [], direction)
        x = [v + step * d for v, d in zip(x, direction, strict=True)]
        slack = [v - step * d for v, d in zip(slack, speed, strict=True)]
        working[leaving] = entering
        bland = step == 0


def phase_one(problem: Problem, working: list[int], x: list[fmpq]) -> Feasible | Infeasible:
    """Decide feasibility exactly, starting at x, where the rows of ``working`` nearly hold.

    Each row gets its own excess at x times t as leave, so (x, t = 1) is feasible and the working
    rows hold with equality; then t is minimised.
    """
    b, g, n, m = problem.b, problem.g, problem.n, len(problem.rows)
    excess = problem.excess(x)
    if any(excess[g:]):  # equalities first, by elimination
        z, x = _equalities(problem)
        if z is not None:
            return infeasible(problem, [fmpq(0)] * g + z)
        working, excess = [-1 - j for j in range(n)], problem.excess(x)
    held = set(working)
    if len(working) > n and not any(excess[i] for i in held if 0 <= i < g):
        working = [-1 - j for j in range(n)]  # t has no part in these rows: they are dependent
        held = set(working)
    worst = [i for i in range(g) if excess[i] > 0 and i not in held]
    if not worst and all(v <= 0 for v in excess[:g]):
        return Feasible(x)
    if len(working) == n:
        working = [*working, max(worst, key=lambda i: excess[i])]
        held = set(working)
    leave = [v if i < g and (v > 0 or i in held) else fmpq(0) for i, v in enumerate(excess)]
    # t enters as the pair (row g: -t <= 0), column n; leave is rational, so rows are scaled anew
    table: list[list[fmpz]] = []
    bounds: list[fmpz] = []
    factors: list[fmpz] = []
    for i in range(m):
        q = leave[i].q
        table.append([*(v * q for v in problem.rows[i]), -leave[i].p])
        bounds.append(b[i] * q)
        factors.append(q)
    table.insert(g, [*([fmpz(0)] * n), fmpz(-1)])
    bounds.insert(g, fmpz(0))
    moved = [i if i < g else i + 1 for i in working]
    end = simplex(fmpz_mat(table), bounds, g + 1, [fmpq(0)] * n + [fmpq(-1)], moved, [*x, fmpq(1)], last=g)
    if end.x[n] == 0:
        return Feasible(end.x[:n])
    y = end.multipliers[:g] + end.multipliers[g + 1 :]
    return infeasible(problem, [v * q for v, q in zip(y, factors, strict=True)])


def _equalities(problem: Problem) -> tuple[list[fmpq] | None, list[fmpq]]:
    """A solution of the equalities, or z with z^T E = 0 and z.f < 0 (in integer rows)."""
    g, n = problem.g, problem.n
    e = len(problem.rows) - g
    rows = zip(problem.rows[g:], problem.b[g:], range(e), strict=True)
    joined = [[*row, bound, *(fmpz(i == k) for k in range(e))] for row, bound, i in rows]
    reduced = fmpq_mat(fmpz_mat(joined)).rref()[0].tolist()
    x = [fmpq(0)] * n
    for line in reduced:  # the right block says how the line comes from the rows of E
        pivot = next(j for j, v in enumerate(line) if v != 0)
        if pivot == n:
            return [-v for v in line[n + 1 :]], x
        if pivot < n:
            x[pivot] = line[n]
    return None, x
