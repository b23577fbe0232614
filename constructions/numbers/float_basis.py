"""The float solver (HiGHS) names a basis of a linear program, nothing more."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import highspy
import numpy as np
import numpy.typing as npt
from flint import fmpz

from constructions.numbers.linear_program import Problem

__all__ = ["Basis", "named_basis"]

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Basis:
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


def _floats(problem: Problem, c: Sequence[fmpz]) -> _Floats | None:
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


def named_basis(problem: Problem, c: Sequence[fmpz] | None) -> Basis | None:
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
    if highs.passModel(*shape, cost, *bounds, starts, indices, values, continuous) == error or highs.solve() == error:
        return None
    if highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return None
    named, basic = highs.getBasis(), highspy.HighsBasisStatus.kBasic
    in_basis = [status == basic for status in named.col_status]
    rows = [i for i, status in enumerate(named.row_status) if status != basic]
    basis = Basis(rows, [j for j in range(n) if in_basis[j]], c is None and in_basis[n])
    return basis if len(rows) == sum(in_basis) else None
