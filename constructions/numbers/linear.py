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

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import highspy
import numpy as np
import numpy.typing as npt
from flint import fmpq, fmpq_mat, fmpz, fmpz_mat

__all__ = ["Feasible", "Infeasible", "Optimal", "Unbounded", "feasible", "maximize"]

_Floats = npt.NDArray[np.float64]


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
    problem = _Problem.build(G, h, E, f)
    found = _decide(problem)
    if not _holds(problem, found):  # never expected: the exact method has gone wrong
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
    problem = _Problem.build(G, h, E, f)
    cost = [fmpq(entry) for entry in c]
    if len(cost) != problem.n:
        raise ValueError(f"length of c: expected {problem.n} (the columns of G), found {len(cost)}")
    found = _optimize(problem, cost)
    if not _holds(problem, found, cost):  # never expected, as above
        raise ArithmeticError(f"exact check failed for {found}")
    return found


# ---------------------------------------------------------------------------------------------
# The problem, as given and as integers


@dataclass(frozen=True)
class _Problem:
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
    def build(G: fmpq_mat, h: Sequence[fmpq], E: fmpq_mat | None, f: Sequence[fmpq] | None) -> _Problem:
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
        return _Problem(G, right, E, equal, A, b, scale, rows)

    def split(self, y: Sequence[fmpq]) -> tuple[list[fmpq], list[fmpq]]:
        """Multipliers of the integer rows as multipliers of the rows of G and of E."""
        given = [v * s for v, s in zip(y, self.scale, strict=True)]
        return given[: self.g], given[self.g :]

    def excess(self, x: Sequence[fmpq]) -> list[fmpq]:
        """A x - b: feasible when <= 0 in the first g entries and 0 in the rest."""
        return [v - w for v, w in zip(_times(self.A, x), self.b, strict=True)]

    def admits(self, x: Sequence[fmpq]) -> bool:
        excess = self.excess(x)
        return all(v <= 0 for v in excess[: self.g]) and all(v == 0 for v in excess[self.g :])


def _given(value: object) -> str:
    return "missing" if value is None else "given"


def _times(A: fmpz_mat, x: Sequence[fmpq]) -> list[fmpq]:
    """A x, through one common denominator."""
    numerators, denominator = fmpq_mat(len(x), 1, list(x)).numer_denom()
    return [fmpq(v, denominator) for v in (A * numerators).entries()]


def _dot(u: Sequence[fmpq], v: Sequence[fmpq]) -> fmpq:
    return sum((a * b for a, b in zip(u, v, strict=True)), fmpq(0))


def _solve(rows: Sequence[Sequence[fmpz]], right: Sequence[fmpz | fmpq | int]) -> list[fmpq]:
    """The solution of the square system rows x = right; ZeroDivisionError where it is singular."""
    k = len(rows)
    numerators, denominator = fmpq_mat(k, 1, list(right)).numer_denom()
    matrix = fmpz_mat(k, k, [v for row in rows for v in row])
    return [v / denominator for v in matrix.solve(numerators).entries()]


def _transpose(rows: Sequence[Sequence[fmpz]]) -> list[list[fmpz]]:
    return [list(column) for column in zip(*rows, strict=True)]


# ---------------------------------------------------------------------------------------------
# The check, on the caller's own data


def _holds(
    problem: _Problem, found: Feasible | Infeasible | Optimal | Unbounded, c: Sequence[fmpq] = ()
) -> bool:
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
        return combination(y, z) == [fmpq(0)] * n and _dot(y, h) + _dot(z, f) < 0
    if isinstance(found, Unbounded):
        level = satisfied(found.ray, [fmpq(0)] * len(h), [fmpq(0)] * len(f))
        return level and satisfied(found.point, h, f) and _dot(c, found.ray) > 0
    y, z = found.multipliers, found.multipliers_equalities
    dual = combination(y, z) == list(c) and _dot(y, h) + _dot(z, f) == found.value
    return dual and satisfied(found.point, h, f) and _dot(c, found.point) == found.value


# ---------------------------------------------------------------------------------------------
# The float solver: it names a basis, nothing more


@dataclass(frozen=True)
class _Basis:
    """Rows that hold with equality, and columns not pinned at 0; ``violated``: t is one of them."""

    rows: list[int]
    columns: list[int]
    violated: bool


_local = threading.local()  # one solver per thread: building one costs more than a small solve


def _solver() -> highspy.Highs:
    if not hasattr(_local, "highs"):
        highs = highspy.Highs()  # type: ignore[no-untyped-call]  # has no annotations
        for name, value in (
            ("output_flag", False), ("threads", 1), ("parallel", "off"), ("random_seed", 0),
            ("presolve", "off"), ("solver", "simplex"), ("simplex_strategy", 1),
            ("primal_feasibility_tolerance", 1e-9), ("dual_feasibility_tolerance", 1e-9),
            ("small_matrix_value", 1e-12),
        ):  # fmt: skip
            highs.setOptionValue(name, value)
        _local.highs = highs
    highs = _local.highs
    assert isinstance(highs, highspy.Highs)
    return highs


def _floats(problem: _Problem, c: Sequence[fmpz]) -> _Floats | None:
    """[A b; c 0] in floats, rows and columns scaled by powers of two; None where floats do not reach."""
    m, n = len(problem.rows), problem.n
    entries = [v for row, bound in zip(problem.rows, problem.b, strict=True) for v in (*row, bound)]
    entries += [*c, fmpz(0)]
    try:
        table = np.array(list(map(float, entries))).reshape(m + 1, n + 1)
    except OverflowError:
        table = np.full((m + 1, n + 1), np.inf)
    if float(np.max(np.abs(table))) <= 2.0**20:  # and integers, so none is below 1 either
        return table
    shifts = [max(0, v.bit_length() - 60) for v in entries]
    mantissas = [float(v >> s) for v, s in zip(entries, shifts, strict=True)]
    table, exponents = np.frexp(np.array(mantissas).reshape(m + 1, n + 1))
    size = exponents + np.array(shifts, dtype=float).reshape(m + 1, n + 1)
    zero = table == 0
    for _ in range(4):  # bring the middle of the range of each row, then column, of A to 1
        size[:m] -= _middle(size[:m, :n], zero[:m, :n], 1)
        size[:, :n] -= _middle(size[:m, :n], zero[:m, :n], 0)
    # HiGHS refuses entries above 1e15 and takes those below 1e-12 for 0: rather lose small ones
    size[:m] -= np.max(size[:m, :n], axis=1, keepdims=True, where=~zero[:m, :n], initial=20.0) - 20
    # b and c have units of their own: their largest entries go to 1
    size[:m, n] -= np.max(size[:m, n], where=~zero[:m, n], initial=_TINY)
    size[m, :n] -= np.max(size[m, :n], where=~zero[m, :n], initial=_TINY)
    scaled = np.ldexp(table, np.where(zero, 0, np.clip(size, -5000, 5000)).astype(np.int32))
    return scaled if bool(np.all(np.isfinite(scaled))) else None


_TINY = -1e12  # as an exponent of two: below that of any number in memory


def _middle(size: _Floats, zero: npt.NDArray[np.bool_], axis: int) -> _Floats:
    """The middle of the range of the exponents of each line; 0 for a line of zeros."""
    high = np.max(size, axis=axis, keepdims=True, where=~zero, initial=_TINY)
    low = np.min(size, axis=axis, keepdims=True, where=~zero, initial=-_TINY)
    middle: _Floats = np.where(high < low, 0.0, np.round((low + high) / 2))
    return middle


def _named_basis(problem: _Problem, c: Sequence[fmpz] | None) -> _Basis | None:
    """The basis HiGHS stops at; None when it names none.

    With ``c``: for max c.x. Without: for min t subject to G x - t <= h, E x = f, t >= 0 in scaled
    rows, which has a solution wherever E x = f has, and whose optimum decides feasibility.
    """
    m, n, g = len(problem.rows), problem.n, problem.g
    table = _floats(problem, c if c is not None else [fmpz(0)] * n) if m and n else None
    if table is None:
        return None
    matrix, upper, cost = table[:m, :n], table[:m, n], -table[m, :n]
    column_lower = np.full(n, -np.inf)
    if c is None:
        elastic = np.zeros((m, 1))
        elastic[:g] = -1.0
        matrix, cost = np.hstack([matrix, elastic]), np.append(cost, 1.0)
        column_lower = np.append(column_lower, 0.0)
    nonzero = matrix != 0
    columns = len(cost)
    starts = np.append(0, np.cumsum(nonzero.sum(axis=1))).astype(np.int32)
    indices, values = np.nonzero(nonzero)[1].astype(np.int32), matrix[nonzero]
    row_lower = np.where(np.arange(m) < g, -np.inf, upper)
    row_wise, minimize = int(highspy.MatrixFormat.kRowwise), int(highspy.ObjSense.kMinimize)
    shape = columns, m, len(values), row_wise, minimize, 0.0
    bounds = column_lower, np.full(columns, np.inf), row_lower, upper
    continuous = np.zeros(columns, dtype=np.int32)
    highs = _solver()
    highs.setOptionValue("simplex_iteration_limit", 1000 + 50 * (m + n))
    error = highspy.HighsStatus.kError
    if (
        highs.passModel(*shape, cost, *bounds, starts, indices, values, continuous) == error
        or highs.solve() == error
    ):
        return None
    if highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return None
    named, basic = highs.getBasis(), highspy.HighsBasisStatus.kBasic
    in_basis = [status == basic for status in named.col_status]
    rows = [i for i, status in enumerate(named.row_status) if status != basic]
    basis = _Basis(rows, [j for j in range(n) if in_basis[j]], c is None and in_basis[n])
    return basis if len(rows) == sum(in_basis) else None


# ---------------------------------------------------------------------------------------------
# From a basis to an answer


def _decide(problem: _Problem) -> Feasible | Infeasible:
    n, g = problem.n, problem.g
    basis = _named_basis(problem, None)
    working, x = [-1 - j for j in range(n)], [fmpq(0)] * n
    if basis is not None:
        square = [[problem.rows[i][j] for j in basis.columns] for i in basis.rows]
        right = [problem.b[i] for i in basis.rows]
        if basis.violated:  # The column of t. Its scale does not matter: the combinations of these
            # rows that vanish on the columns are the multiples of one, which is Farkas' or not.
            square = [[*row, -fmpz(i < g)] for row, i in zip(square, basis.rows, strict=True)]
        try:
            if basis.violated:
                y = _solve(_transpose(square), [0] * len(basis.columns) + [-1])
                if all(v >= 0 for v, i in zip(y, basis.rows, strict=True) if i < g):
                    proof = _infeasible(problem, _spread(y, basis.rows, len(problem.rows)))
                    if _holds(problem, proof):
                        return proof
            x = _spread(_solve(square, right)[: len(basis.columns)], basis.columns, n)
            if problem.admits(x):
                return Feasible(x)
            working = basis.rows + [-1 - j for j in range(n) if j not in set(basis.columns)]
        except ZeroDivisionError:  # regular in floats only
            working, x = [-1 - j for j in range(n)], [fmpq(0)] * n
    return _phase_one(problem, working, x)


def _optimize(problem: _Problem, c: list[fmpq]) -> Optimal | Infeasible | Unbounded:
    n, m = problem.n, len(problem.rows)
    numerators, denominator = fmpq_mat(n, 1, c).numer_denom()
    cost = [fmpz(v) for v in numerators.entries()]
    named = _named_basis(problem, cost)
    start: tuple[list[int], list[fmpq]] | None = None
    if named is not None:
        rows, columns = named.rows, named.columns
        square = [[problem.rows[i][j] for j in columns] for i in rows]
        try:
            x = _spread(_solve(square, [problem.b[i] for i in rows]), columns, n)
            if problem.admits(x):
                y = _solve(_transpose(square), [c[j] for j in columns])
                result = _optimal(problem, c, x, _spread(y, rows, m))
                if _holds(problem, result, c):
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
            level = _Problem.build(
                down, [fmpq(0)] * problem.g + [fmpq(-1)], problem.E, [fmpq(0)] * len(problem.f)
            )
            ray = _decide(level)
            if isinstance(ray, Feasible):
                return Unbounded(found.point, ray.point)
        start = [-1 - j for j in range(n)], found.point
    end = _simplex(problem.A, problem.b, problem.g, [fmpq(v) for v in cost], *start)
    if end.ray is not None:
        return Unbounded(end.x, end.ray)
    return _optimal(problem, c, end.x, [v / denominator for v in end.multipliers])


def _infeasible(problem: _Problem, y: Sequence[fmpq]) -> Infeasible:
    """Farkas' proof from multipliers of the integer rows, lengthened to coprime integers."""
    given, _ = fmpq_mat(1, len(y), [v for part in problem.split(y) for v in part]).numer_denom()
    content = reduce(fmpz.gcd, given.entries(), fmpz(0))
    whole = [fmpq(v, content) for v in given.entries()]
    return Infeasible(whole[: problem.g], whole[problem.g :])


def _optimal(problem: _Problem, c: list[fmpq], x: list[fmpq], y: list[fmpq]) -> Optimal:
    return Optimal(x, _dot(c, x), *problem.split(y))


def _spread(values: Sequence[fmpq], places: Sequence[int], length: int) -> list[fmpq]:
    spread = [fmpq(0)] * length
    for value, place in zip(values, places, strict=True):
        spread[place] = value
    return spread


# ---------------------------------------------------------------------------------------------
# The simplex method in rationals


@dataclass(frozen=True)
class _End:
    """Where the simplex method stops: multipliers of all rows at an optimum, else a ray."""

    x: list[fmpq]
    multipliers: list[fmpq]
    ray: list[fmpq] | None


def _simplex(
    A: fmpz_mat,
    b: Sequence[fmpz],
    g: int,
    c: Sequence[fmpq],
    working: Sequence[int],
    x: Sequence[fmpq],
    last: int | None = None,
) -> _End:
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
    slack = [w - v for v, w in zip(_times(A, x), b, strict=True)]
    bland = False
    while True:
        square = [rows[i] if i >= 0 else [fmpz(j == -1 - i) for j in range(n)] for i in working]
        y = _solve(_transpose(square) if n else [], list(c))
        free = [k for k, i in enumerate(working) if (i < 0 and y[k] != 0) or (0 <= i < g and y[k] < 0)]
        if not free or (last is not None and last in working):
            multipliers = [fmpq(0)] * m
            for k, i in enumerate(working):
                if i >= 0:
                    multipliers[i] = y[k]
            return _End(x, multipliers, None)
        choice = [(working[k] if bland else -abs(y[k]), k) for k in free]
        leaving = min(choice)[1]
        right = [0] * n
        right[leaving] = 1 if y[leaving] > 0 else -1
        direction = _solve(square, right)
        speed = _times(A, direction)
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
            return _End(x, [], direction)
        x = [v + step * d for v, d in zip(x, direction, strict=True)]
        slack = [v - step * d for v, d in zip(slack, speed, strict=True)]
        working[leaving] = entering
        bland = step == 0


def _phase_one(problem: _Problem, working: list[int], x: list[fmpq]) -> Feasible | Infeasible:
    """Decide feasibility exactly, starting at x, where the rows of ``working`` nearly hold.

    Each row gets its own excess at x times t as leave, so (x, t = 1) is feasible and the working
    rows hold with equality; then t is minimised.
    """
    b, g, n, m = problem.b, problem.g, problem.n, len(problem.rows)
    excess = problem.excess(x)
    if any(excess[g:]):  # equalities first, by elimination
        z, x = _equalities(problem)
        if z is not None:
            return _infeasible(problem, [fmpq(0)] * g + z)
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
    end = _simplex(fmpz_mat(table), bounds, g + 1, [fmpq(0)] * n + [fmpq(-1)], moved, [*x, fmpq(1)], last=g)
    if end.x[n] == 0:
        return Feasible(end.x[:n])
    y = end.multipliers[:g] + end.multipliers[g + 1 :]
    return _infeasible(problem, [v * q for v, q in zip(y, factors, strict=True)])


def _equalities(problem: _Problem) -> tuple[list[fmpq] | None, list[fmpq]]:
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
