"""Vectors and matrices of intervals; lists of rows. All have the same number of bits after the point."""

from collections.abc import Sequence
from operator import mul

from expsum import enclose_exp
from intervals import Interval, enclosed, exactly, total
from limits import DEADLINE
from rational import Matrix, Scalar, Vector
from reading import Field
from rounding import root_above
from vectors import entry

Row = list[Interval]
Rows = list[Row]
PRECISIONS = (16, 4096)


def read_precision(field: Field) -> int:
    """The number of bits after the point."""
    bits = field.integer()
    if not PRECISIONS[0] <= bits <= PRECISIONS[1]:
        field.fail(f"an integer from {PRECISIONS[0]} to {PRECISIONS[1]}")
    return bits


def largest_square(u: Row) -> Scalar:
    """The largest of all u.u, exactly; at least one entry."""
    return Scalar(sum(x.magnitude() ** 2 for x in u), 1 << 2 * u[0].bits)


def least_square(u: Row) -> Scalar:
    """A number that no u.u is below, exactly; at least one entry."""
    return Scalar(sum(max(x.lo, -x.hi, 0) ** 2 for x in u), 1 << 2 * u[0].bits)


def meet(a: Interval, b: Interval) -> Interval:
    """What is in both; there is something, if both enclose the same number."""
    return Interval(max(a.lo, b.lo), min(a.hi, b.hi), a.bits)


def exponential(value: Interval) -> Interval:
    """e^x."""
    DEADLINE.check()
    bits = value.bits
    low, _ = enclose_exp(value.lo, 1 << bits, bits)
    _, high = enclose_exp(value.hi, 1 << bits, bits)
    return Interval(low, high, bits)


def enclosed_row(vector: Vector, bits: int) -> Row:
    """A rational vector."""
    return [enclosed(entry(vector, c), bits) for c in range(len(vector))]


def plus(u: Row, v: Row) -> Row:
    """u + v."""
    return [x + y for x, y in zip(u, v, strict=True)]


def minus(u: Row, v: Row) -> Row:
    """u - v."""
    return [x - y for x, y in zip(u, v, strict=True)]


def dot(u: Row, v: Row, bits: int) -> Interval:
    """u.v."""
    return total((x * y for x, y in zip(u, v, strict=True)), bits)


def squared(u: Row, bits: int) -> Interval:
    """u.u."""
    return total((x.square() for x in u), bits)


def combined(weights: Sequence[Interval], rows: Rows, bits: int) -> Row:
    """The sum of weight times row; at least one row."""
    return [dot(list(weights), list(column), bits) for column in zip(*rows, strict=True)]


def outer(u: Row, v: Row) -> Rows:
    """u v^T."""
    return [[x * y for y in v] for x in u]


def added(A: Rows, B: Rows) -> Rows:
    """A + B."""
    return [plus(u, v) for u, v in zip(A, B, strict=True)]


def flipped(A: Rows) -> Rows:
    """The transpose; at least one row."""
    return [list(column) for column in zip(*A, strict=True)]


def applied(matrix: Matrix, vector: Row, bits: int) -> Row:
    """Rational matrix times vector: as narrow as it can be, up to rounding."""
    middles, widths = tuple(x.lo + x.hi for x in vector), tuple(x.hi - x.lo for x in vector)
    result = []
    for row in matrix.rows:
        DEADLINE.check()
        middle = sum(map(mul, row, middles))
        width = sum(map(mul, map(abs, row), widths))
        den = 2 * matrix.den
        result.append(Interval((middle - width) // den, -((-middle - width) // den), bits))
    return result


def applied_to_columns(matrix: Matrix, A: Rows, bits: int) -> Rows:
    """Rational matrix times matrix."""
    return flipped([applied(matrix, column, bits) for column in flipped(A)])


def _gram(rows: Rows, bits: int) -> Rows:
    """All inner products of the rows."""
    size = len(rows)
    G = [[exactly(0, bits)] * size for _ in range(size)]
    for a in range(size):
        DEADLINE.check()
        G[a][a] = squared(rows[a], bits)
        for b in range(a):
            G[a][b] = G[b][a] = dot(rows[a], rows[b], bits)
    return G


def norm_above(B: Rows, bits: int) -> Scalar:
    """A number that the spectral norm of no matrix in B exceeds; B has at least one row and one column.

    With G = B^T B (or B B^T): |B|^16 = |G^8|, and the spectral norm is at most Frobenius' norm.
    """
    largest = max(x.magnitude() for row in B for x in row)
    if largest == 0 or (len(B) == 1 and len(B[0]) == 1):
        return Scalar(largest, 1 << bits)
    shift = bits - largest.bit_length()
    scaled = [[_shifted(x, shift) for x in row] for row in B]
    G = _gram(scaled if len(B) < len(B[0]) else flipped(scaled), bits)
    for _ in range(3):
        G = _gram(G, bits)
    root = Scalar(sum(x.magnitude() ** 2 for row in G for x in row), 1 << 2 * bits)
    for _ in range(5):
        root = root_above(root)
    return Scalar(root.num << max(0, -shift), root.den << max(0, shift))


def _shifted(x: Interval, shift: int) -> Interval:
    if shift >= 0:
        return Interval(x.lo << shift, x.hi << shift, x.bits)
    return Interval(x.lo >> -shift, -(-x.hi >> -shift), x.bits)
