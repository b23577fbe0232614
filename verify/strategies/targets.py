"""Lipschitz targets on the cube: piecewise linear, with constants that are known exactly and attained.

Two kinds. *Coordinates*: entry i is a polyline of one variable, each variable used once; then the constant is the
largest slope, in every p-norm. *Mixed* (p = 1): all entries are shares c_i of one polyline g of a weighted mean w·x;
then it is ``‖c‖_1 · max_j w_j`` times the largest slope of g.
"""

from __future__ import annotations

from flint import fmpq
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from constructions.numbers.rational import RationalLike
from constructions.universality.piecewise_linear import Entry, PiecewiseLinearTarget, Point, Polyline
from verify.strategies.arguments import Size, exact, invalid, sizes, whole
from verify.strategies.matrices import SHARES, draw_all, rationals

MOST_ROWS = 9
"""Names of variables have one digit for the row and one for the column."""
SIGNED_SHARES = st.integers(-4, 4).map(lambda n: fmpq(n, 4))


def lipschitz_targets(
    d: Size | None = None,
    m: Size | None = None,
    *,
    constant: SearchStrategy[RationalLike] | RationalLike | None = None,
    p: RationalLike = 1,
    max_pieces: int = 3,
) -> SearchStrategy[PiecewiseLinearTarget]:
    """Functions from [0,1]^{d×m} to itself (``d`` and ``m``: 1 or 2) whose Lipschitz constant in the entrywise p-norm
    is exactly ``constant`` (0 to 3, or drawn by a strategy; at least 0).

    Polylines have up to ``max_pieces`` pieces more than the constant needs to stay in [0, 1]. A function knows two
    points between which it is as steep as its constant allows, and can be written as the expressions that ``promptcert
    universality --target`` takes. They shrink to few pieces, flat but for one.

    >>> from verify.strategies import smallest
    >>> f = smallest(lipschitz_targets(1, 1, constant="3/2"))
    >>> f.expressions
    ['0 + (1)*(3/4 + (-3/2)*(x) + (3/2)*Max((x) - 1/2, 0))']
    >>> f.attained, f((fmpq(0),)), f((fmpq(1, 2),))
    (((0,), (1/2,)), [3/4], [0])
    """
    exponent = exact("p", p, least=1)
    whole("max_pieces", max_pieces, least=1)
    if constant is None:
        constants: SearchStrategy[fmpq] = rationals(0, 3)
    elif isinstance(constant, SearchStrategy):
        constants = constant.map(lambda value: exact("constant (drawn)", value, least=0))
    else:
        constants = st.just(exact("constant", constant, least=0))
    for name, size in (("d", d), ("m", m)):
        if isinstance(size, int) and size > MOST_ROWS:
            raise invalid(name, f"at most {MOST_ROWS}", size)
    up_to_two = st.integers(1, 2)
    return _lipschitz_targets(sizes("d", d, up_to_two), sizes("m", m, up_to_two), constants, exponent, max_pieces)


@st.composite
def _lipschitz_targets(
    draw: DrawFn,
    heights: SearchStrategy[int],
    widths: SearchStrategy[int],
    constants: SearchStrategy[fmpq],
    p: fmpq,
    max_pieces: int,
) -> PiecewiseLinearTarget:
    d, m, constant = draw(heights), draw(widths), draw(constants)
    kind = _mixed if p == 1 and d * m > 1 and draw(st.booleans()) else _coordinates
    entries, steep = kind(draw, d * m, constant, max_pieces)
    return PiecewiseLinearTarget(d, m, entries, p, constant, _attained(entries[steep]))


def _coordinates(draw: DrawFn, n: int, constant: fmpq, max_pieces: int) -> tuple[tuple[Entry, ...], int]:
    """The entries, and which of them is as steep as the constant."""
    steep, order = draw(st.integers(0, n - 1)), draw(st.permutations(range(n)))
    entries = []
    for i in range(n):
        slope = constant if i == steep else constant * draw(SHARES)
        weights = tuple(fmpq(int(j == order[i])) for j in range(n))
        entries.append(Entry(draw_polyline(draw, slope, max_pieces), weights))
    return tuple(entries), steep


def _mixed(draw: DrawFn, n: int, constant: fmpq, max_pieces: int) -> tuple[tuple[Entry, ...], int]:
    counts = [draw(st.integers(0, 2)) for _ in range(n)]
    if not any(counts):
        counts[0] = 1
    weights = tuple(fmpq(count, sum(counts)) for count in counts)
    shares = draw_all(draw, n, SHARES)
    if all(share == 0 for share in shares):
        shares[0] = fmpq(1)
    shape = draw_polyline(draw, constant / (max(weights) * sum(shares, fmpq(0))), max_pieces)
    offsets = [(1 - share) * draw(SHARES) for share in shares]
    entries = tuple(Entry(shape, weights, offset, share) for offset, share in zip(offsets, shares, strict=True))
    return entries, 0


def _attained(entry: Entry) -> tuple[Point, Point]:
    """From a point where w·x is where the steepest piece begins, along the variable of the largest weight."""
    shape, weights = entry.shape, entry.weights
    start, length = fmpq(shape.steepest, shape.pieces), fmpq(1, shape.pieces)
    along = weights.index(max(weights))
    end = min(fmpq(1), start + length / weights[along])
    return (start,) * len(weights), tuple(end if j == along else start for j in range(len(weights)))


def draw_polyline(draw: DrawFn, slope: fmpq, max_pieces: int) -> Polyline:
    """Values in [0, 1] and ``slope`` as the largest slope, from one steep piece outwards."""
    fewest = max(1, int(slope.ceil()))
    n = draw(st.integers(fewest, fewest + max_pieces - 1))
    step = slope / n
    first = draw(SHARES) * (1 - step)
    steep = [first, first + step] if draw(st.booleans()) else [first + step, first]
    before = draw(st.integers(0, n - 1))
    right, left = steep[1:], steep[:1]
    for values, count in ((right, n - 1 - before), (left, before)):
        for _ in range(count):
            values.append(min(max(values[-1] + step * draw(SIGNED_SHARES), fmpq(0)), fmpq(1)))
    return Polyline(tuple(left[::-1] + right))
