"""Rational numbers, vectors and matrices whose rank, norm and condition number hold by construction.

Nothing is drawn and thrown away: a rank is a leading block kept invertible one pivot at a time, a norm is a certified
bound scaled down, a condition number is a choice of the singular values. With all choices at their simplest a matrix is
zero, or, where its rank is asked for, ones on the diagonal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from flint import fmpq, fmpq_mat
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from constructions.numbers.rational import RationalLike, RationalMatrix, column_vector, dot
from constructions.numbers.spectral_norm import within_norm
from verify.strategies.arguments import Size, elements_or, exact, invalid, sizes, whole

ONE = fmpq(1)
T = TypeVar("T")
CHANGES = (0, 0, 1, 2, 3, 6)
KINDS = len(CHANGES) + 1
"""A matrix has so many entries changed in zero or in ones on the diagonal, or, the last kind, a lower rank."""


def rationals(
    min_value: RationalLike | None = None, max_value: RationalLike | None = None, *, max_denominator: int = 2
) -> SearchStrategy[fmpq]:
    """Exact rationals (``fmpq``) between two bounds, the bounds included, with small denominators.

    A bound that is not given is 3 away from zero, or from the other bound if that is further out. They shrink to small
    denominators, then towards zero. Raises InvalidArgument when there is no such number.

    >>> from verify.strategies import smallest
    >>> smallest(rationals(), lambda x: 3 * x > 1), smallest(rationals("1/3", "1/2"))
    (1, 1/2)
    """
    low = None if min_value is None else exact("min_value", min_value)
    high = None if max_value is None else exact("max_value", max_value)
    if low is None:
        low = fmpq(-3) if high is None else min(fmpq(-3), high - 3)
    if high is None:
        high = max(fmpq(3), low + 3)
    most = whole("max_denominator", max_denominator, least=1)
    if low > high:
        raise invalid("max_value", f"at least min_value = {low}", high)
    ranges = [(q, int((low * q).ceil()), int((high * q).floor())) for q in range(1, most + 1)]
    ranges = [one for one in ranges if one[1] <= one[2]]
    if not ranges:
        raise invalid("max_denominator", f"one that some number from {low} to {high} has", max_denominator)
    if sum(top - bottom + 1 for _, bottom, top in ranges) <= FEW:  # one choice for each is quicker, and shrinks as well
        few = {fmpq(n, q) for q, bottom, top in ranges for n in range(bottom, top + 1)}
        return st.sampled_from(sorted(few, key=lambda x: (x.q, abs(x), x < 0)))
    if len(ranges) <= FEW:
        return st.one_of([_over(*one) for one in ranges])
    return st.sampled_from(ranges).flatmap(lambda one: _over(*one))  # one strategy for each would take long to make


def _over(q: int, bottom: int, top: int) -> SearchStrategy[fmpq]:
    return st.integers(bottom, top).map(lambda n: fmpq(n, q))


FEW = 64
SMALL = rationals(-2, 2)
"""Entries, where none are asked for: short numbers keep certificates short and exact exponentials quick."""


def vectors(size: Size, *, elements: SearchStrategy[RationalLike] | None = None) -> SearchStrategy[list[fmpq]]:
    """Vectors of ``size`` exact numbers, as lists.

    >>> from verify.strategies import smallest
    >>> smallest(vectors(3), lambda v: v[2] > 0)
    [0, 0, 1]
    """
    return _vectors(sizes("size", size, st.nothing(), least=0), elements_or(elements, SMALL))


@st.composite
def _vectors(draw: DrawFn, lengths: SearchStrategy[int], entries: SearchStrategy[fmpq]) -> list[fmpq]:
    return draw_vector(draw, draw(lengths), entries)


def draw_all(draw: DrawFn, n: int, entries: SearchStrategy[fmpq]) -> list[fmpq]:
    return [draw(entries) for _ in range(n)]


def draw_vector(draw: DrawFn, n: int, entries: SearchStrategy[fmpq]) -> list[fmpq]:
    """Up to three entries that differ from what the others are, or, of more than three, all drawn.

    So a smaller n asks for the same choices, with indices that lead to the first entry where they are too large: this
    is how counterexamples lose dimensions and keep what they show.
    """
    changes = draw(st.integers(0, 3))
    if changes == 3 and n > 3:
        return draw_all(draw, n, entries)
    vector = [_fill(draw, entries)] * n
    for _ in range(changes):
        i, value = draw_index(draw, n), draw(entries)
        if n:
            vector[i] = value
    return vector


def draw_index(draw: DrawFn, n: int) -> int:
    """Below n; one choice also where there is nothing to choose, so that a smaller n shifts no later choices."""
    return min(draw(st.integers(0, max(1, n - 1))), max(0, n - 1))


def _fill(draw: DrawFn, entries: SearchStrategy[fmpq]) -> fmpq:
    """Zero by default; elements that are asked for fill what they are asked for."""
    return fmpq(0) if entries is SMALL else draw(entries)


def matrices(
    rows: Size,
    columns: Size,
    *,
    elements: SearchStrategy[RationalLike] | None = None,
    min_rank: int = 0,
    max_rank: int | None = None,
    full_rank: bool = False,
    max_norm: RationalLike | None = None,
    max_condition: RationalLike | None = None,
) -> SearchStrategy[RationalMatrix]:
    """Matrices over Q, ``rows``×``columns`` (each a number or a strategy, at least 0).

    - ``elements``: a strategy for the entries. All entries are drawn from it, except that a pivot is raised by 1 where
      the rank needs it, that rows which depend on others are combinations of them with coefficients drawn from it, and
      that a bound on the norm scales them down. By default entries are −2 to 2, halves included, and matrices are often
      sparse, zero, of low rank, or the identity but for few entries.
    - ``min_rank``, ``max_rank``: bounds of the rank; ``full_rank`` asks for min(rows, columns).
    - ``max_norm``: ‖W‖_2 is at most this, certified.
    - ``max_condition``: the largest singular value is at most so many times the smallest that is not zero, exactly. The
      matrix then is U D V with U, V orthogonal (:func:`orthogonal_matrices`) and D either diagonal or a multiple of the
      identity plus something small; ``elements`` are used for the latter.

    Matrices shrink to fewer rows and columns, then the least rank, then to zero or ones on the diagonal, then to small
    whole numbers.

    Raises InvalidArgument for bounds that contradict each other.

    >>> from verify.strategies import smallest
    >>> smallest(matrices(2, 3, full_rank=True)).rows()
    [[1, 0, 0], [0, 1, 0]]
    >>> smallest(matrices(2, 2, max_rank=1), lambda W: W.rank() == 1).rows()
    [[1, 0], [0, 0]]
    >>> smallest(matrices(2, 2, max_norm="1/3"), lambda W: W[0, 1] > 0).rows()
    [[0, 5/16], [0, 0]]
    """
    entries = elements_or(elements, SMALL)
    heights = sizes("rows", rows, st.nothing(), least=0)
    widths = sizes("columns", columns, st.nothing(), least=0)
    known = min((n for n in (rows, columns) if isinstance(n, int)), default=None)
    if full_rank and (min_rank != 0 or max_rank is not None):
        raise invalid("full_rank", "no min_rank and no max_rank beside it", (min_rank, max_rank))
    whole("min_rank", min_rank, least=0, most=known)
    if max_rank is not None:
        whole(f"max_rank (min_rank is {min_rank})", max_rank, least=min_rank, most=known)
    norm = None if max_norm is None else exact("max_norm", max_norm, least=0)
    condition = None if max_condition is None else exact("max_condition", max_condition, least=1)
    if norm == 0 and (min_rank > 0 or full_rank):
        raise invalid("max_norm", "a positive number, as the rank is not 0", max_norm)

    return _matrices(heights, widths, entries, Demand(min_rank, max_rank, full_rank, norm, condition))


@dataclass(frozen=True)
class Demand:
    """What is asked of a matrix beside its size."""

    min_rank: int = 0
    max_rank: int | None = None
    full_rank: bool = False
    norm: fmpq | None = None
    condition: fmpq | None = None


ANY = Demand()
FULL_RANK = Demand(full_rank=True)


@st.composite
def _matrices(
    draw: DrawFn,
    heights: SearchStrategy[int],
    widths: SearchStrategy[int],
    entries: SearchStrategy[fmpq],
    demand: Demand,
) -> RationalMatrix:
    return draw_matrix(draw, draw(heights), draw(widths), entries, demand)


def draw_matrix(draw: DrawFn, m: int, n: int, entries: SearchStrategy[fmpq], demand: Demand = ANY) -> RationalMatrix:
    """The strategy as a function, for strategies that draw many matrices."""
    full = min(m, n)
    least = full if demand.full_rank else demand.min_rank
    if least > full:
        raise invalid("min_rank", f"at most {full}, the smaller side of the {m}×{n} matrix drawn", least)
    most = full if demand.max_rank is None else min(demand.max_rank, full)
    if demand.norm == 0:
        return RationalMatrix.zeros(m, n)
    if demand.condition is not None:
        return _conditioned(draw, m, n, draw(st.integers(least, most)), demand.condition, demand.norm, entries)
    if least == 0 and most == full:
        W = _plain(draw, m, n, entries)
    else:
        W = _ranked(draw, m, n, draw(st.integers(least, most)), entries)
    return W if demand.norm is None else within_norm(W, demand.norm)


def unit_diagonal(m: int, n: int, rank: int) -> RationalMatrix:
    """Ones in the first ``rank`` places of the diagonal, zeros elsewhere, m×n."""
    return RationalMatrix.of([[int(i == j < rank) for j in range(n)] for i in range(m)], columns=n)


def _plain(draw: DrawFn, m: int, n: int, entries: SearchStrategy[fmpq]) -> RationalMatrix:
    kind = draw(st.integers(0, KINDS - 1))
    if kind == KINDS - 1 and min(m, n) > 1 and entries is SMALL:
        return _ranked(draw, m, n, draw(st.integers(1, min(m, n) - 1)), entries)
    return RationalMatrix.of(_table(draw, m, n, entries, kind), columns=n)


def _table(draw: DrawFn, m: int, n: int, entries: SearchStrategy[fmpq], kind: int) -> list[list[fmpq]]:
    """Some entries changed in a plain matrix, or all drawn; as for vectors."""
    changes = CHANGES[min(kind, len(CHANGES) - 1)]
    if changes == max(CHANGES) and m * n > 9:
        return [draw_all(draw, n, entries) for _ in range(m)]
    fill = _fill(draw, entries)
    rows = [[fill] * n for _ in range(m)]
    if entries is SMALL and draw(st.booleans()):
        rows = unit_diagonal(m, n, min(m, n)).rows()
    for _ in range(changes):
        i, j, value = draw_index(draw, m), draw_index(draw, n), draw(entries)
        if m and n:
            rows[i][j] = value
    return rows


def _ranked(draw: DrawFn, m: int, n: int, rank: int, entries: SearchStrategy[fmpq]) -> RationalMatrix:
    independent = _table(draw, rank, n, entries, draw(st.integers(0, KINDS - 1)))
    for k in range(rank):
        # the determinant of the leading block is affine in its last entry, with the last block's as slope
        block = RationalMatrix.of([row[: k + 1] for row in independent[: k + 1]])
        if block.mat.det() == 0:
            independent[k][k] += 1
    columns = _shuffled(draw, list(zip(*independent, strict=True)) if rank else [()] * n)
    coefficients = _table(draw, m - rank, rank, entries, draw(st.integers(0, KINDS - 1))) if rank < m else []
    rows = [[column[i] for column in columns] for i in range(rank)]
    rows += [[dot(row, column) for column in columns] for row in coefficients]
    return RationalMatrix(fmpq_mat(m, n, [x for row in (_shuffled(draw, rows) if rank < m else rows) for x in row]))


def _shuffled(draw: DrawFn, items: list[T]) -> list[T]:
    """Any order, by exchanging two at a time."""
    for _ in range(draw(st.integers(0, max(2, len(items) - 1)))):
        i, j = draw_index(draw, len(items)), draw_index(draw, len(items))
        if items:
            items[i], items[j] = items[j], items[i]
    return items


# --- singular values -------------------------------------------------------------------------------------------------


def orthogonal_matrices(size: Size) -> SearchStrategy[RationalMatrix]:
    """Exactly orthogonal rational matrices: products of reflections ``1 − 2vv^T/|v|²``, v whole.

    Every rational orthogonal matrix is such a product. They shrink to the identity.

    >>> from verify.strategies import smallest
    >>> smallest(orthogonal_matrices(2), lambda Q: Q[0, 0].q > 2).rows()
    [[-3/5, -4/5], [-4/5, 3/5]]
    """

    return _orthogonal_matrices(sizes("size", size, st.nothing(), least=0))


@st.composite
def _orthogonal_matrices(draw: DrawFn, checked: SearchStrategy[int]) -> RationalMatrix:
    return _orthogonal(draw, draw(checked))


COMPONENTS = st.integers(-2, 2).map(fmpq)


def _orthogonal(draw: DrawFn, n: int) -> RationalMatrix:
    Q = RationalMatrix.identity(n)
    for _ in range(draw(st.integers(0, n))):
        v = draw_vector(draw, n, COMPONENTS)
        square = dot(v, v)
        if square != 0:
            outer = column_vector(v).times(column_vector(v).T)
            Q = Q.times(RationalMatrix.identity(n) - outer.scaled(2 / square))
    return Q


def matrices_with_singular_values(
    rows: Size, columns: Size, values: SearchStrategy[Sequence[RationalLike]] | Sequence[RationalLike]
) -> SearchStrategy[RationalMatrix]:
    """Matrices U D V whose singular values are known exactly: ``values`` (at least 0, at most min(rows, columns) of
    them, or a strategy for such lists), and zeros.

    So ‖W‖_2 is the largest value, attained; the rank is the number of those that are not zero.

    >>> from verify.strategies import smallest
    >>> smallest(matrices_with_singular_values(2, 2, [3, "1/2"]), lambda W: W[0, 1] != 0).rows()
    [[0, -3], [-1/2, 0]]
    """
    lists = values if isinstance(values, SearchStrategy) else st.just(values)
    if not isinstance(values, SearchStrategy):
        _singular_values(values)
    heights = sizes("rows", rows, st.nothing(), least=0)
    widths = sizes("columns", columns, st.nothing(), least=0)

    return _matrices_with_singular_values(heights, widths, lists)


@st.composite
def _matrices_with_singular_values(
    draw: DrawFn,
    heights: SearchStrategy[int],
    widths: SearchStrategy[int],
    lists: SearchStrategy[Sequence[RationalLike]],
) -> RationalMatrix:
    m, n = draw(heights), draw(widths)
    values = _singular_values(draw(lists))
    if len(values) > min(m, n):
        raise invalid("values", f"at most {min(m, n)} of them for a {m}×{n} matrix", values)
    return _rotated(draw, m, n, diagonal(values))


def diagonal(values: Sequence[fmpq]) -> RationalMatrix:
    n = len(values)
    return RationalMatrix.of([[x if i == j else 0 for j in range(n)] for i, x in enumerate(values)], columns=n)


def _singular_values(values: Sequence[RationalLike]) -> list[fmpq]:
    return [exact("values", value, least=0) for value in values]


def _rotated(draw: DrawFn, m: int, n: int, core: RationalMatrix) -> RationalMatrix:
    """U [core 0; 0 0] V."""
    r = core.shape[0]
    D = RationalMatrix.of([[core[i, j] if i < r and j < r else 0 for j in range(n)] for i in range(m)], columns=n)
    return _orthogonal(draw, m).times(D).times(_orthogonal(draw, n))


def _conditioned(
    draw: DrawFn, m: int, n: int, rank: int, condition: fmpq, norm: fmpq | None, entries: SearchStrategy[fmpq]
) -> RationalMatrix:
    if draw(st.booleans()):
        # I + N with ‖N‖ ≤ ρ has singular values in [1 − ρ, 1 + ρ]
        rho = (condition - 1) / (condition + 1)
        small = within_norm(_plain(draw, rank, rank, entries), rho)
        core, largest = RationalMatrix(small.mat + RationalMatrix.identity(rank).mat), 1 + rho
    else:
        # a share t of the way from 1 to the condition number, both ends included
        values = [1 + (condition - 1) * t for t in draw_all(draw, rank, SHARES)]
        core, largest = diagonal(values), max(values, default=ONE)
    steps = draw(st.integers(1, 4))
    most = fmpq(2) if norm is None else norm / largest
    return _rotated(draw, m, n, core.scaled(ONE if steps == 1 and most >= 1 else most * fmpq(steps, 4)))


SHARES = st.integers(0, 4).map(lambda n: fmpq(n, 4))
"""Parts of a whole."""
