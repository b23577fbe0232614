"""Krawczyk's test: near the stated tokens there are some that solve a system of as many equations as unknowns.

Let F be the system, x the unknown entries of the tokens, B the box of radius r around the stated x_0, and J an
enclosure of the derivatives of F on B. If in each component
    |Y F(x_0)| + |1 - Y J| (r, ..., r) < r,
then x - Y F(x) maps B into itself (mean value theorem, row by row), so it has a fixed point (Brouwer), and there
Y F(x) = 0. As |1 - Y J| (r, ..., r) < (r, ..., r), the matrix Y J(x) is invertible, so Y is, and F(x) = 0.
"""

from dataclasses import dataclass
from functools import cached_property
from operator import mul

from attention import read_tokens
from intervals import Interval, enclosed, enclosed_exp, exactly
from limits import OverLimits, bounded, demand
from loss_bounds import PRECISIONS
from prompt_setting import Setting, in_words
from rational import Matrix, Scalar, Vector, read_matrix, read_scalar
from reading import Field

MAX_UNKNOWNS = 1000
FIELDS = ("tokens", "counts", "radius", "unknowns", "preconditioner", "precision")
Row = list[Interval]


@dataclass(frozen=True)
class TokenBox:
    """Tokens (rows), each taken so many times, of which some entries are unknown up to the radius; Y, the precision."""

    tokens: Matrix
    counts: tuple[int, ...]
    radius: Scalar
    unknowns: tuple[tuple[int, int], ...]
    preconditioner: Matrix
    bits: int

    @cached_property
    def own(self) -> dict[int, list[tuple[int, int]]]:
        """For each token with unknown entries these: the number of the unknown, and the row that it is in."""
        result: dict[int, list[tuple[int, int]]] = {}
        for u, (row, j) in enumerate(self.unknowns):
            result.setdefault(j, []).append((u, row))
        return result

    def zeros(self, rows: int) -> list[Row]:
        """Rows of J to be filled."""
        return [[exactly(0, self.bits)] * len(self.unknowns) for _ in range(rows)]

    def product(self, j: int, middle: Scalar, factors: Vector) -> Interval:
        """What the product of the factors with token j, plus a constant, can be in B; at x_0 it is the middle."""
        moved = self._moved(j, factors)
        return Interval(enclosed(middle - moved, self.bits).lo, enclosed(middle + moved, self.bits).hi, self.bits)

    def exponential(self, j: int, middle: Scalar, factors: Vector) -> Interval:
        """The exponential of the same, times the count of the token."""
        moved = self._moved(j, factors)
        low, high = (enclosed_exp(end, self.bits) for end in (middle - moved, middle + moved))
        return Interval(low.lo, high.hi, self.bits).scaled(Scalar(self.counts[j], 1))

    def _moved(self, j: int, factors: Vector) -> Scalar:
        return self.radius * Scalar(sum(abs(factors.num[row]) for _, row in self.own[j]), factors.den)

    def demand_radius(self) -> None:
        """Of a box with interior points."""
        demand(self.radius.sign() > 0, "the radius is not positive")

    def demand_contraction(self, F: Row, J: list[Row]) -> None:
        """The condition on Y, for F enclosed at x_0. All in integers: enclosures are (middle +- half)/2 in units of
        2^-bits, and Y is a matrix over one den."""
        middle, half = [x.lo + x.hi for x in F], [x.hi - x.lo for x in F]
        columns = [tuple(x.lo + x.hi for x in column) for column in zip(*J, strict=True)]
        spreads = [sum(x.hi - x.lo for x in row) for row in J]
        one = self.preconditioner.den << self.bits + 1
        for i, y in enumerate(self.preconditioner.rows):
            size = [abs(n) for n in y]
            off = abs(sum(map(mul, y, middle))) + sum(map(mul, size, half))
            products = bounded(sum(map(mul, y, column)) for column in columns)
            spread = sum(abs((one if k == i else 0) - product) for k, product in enumerate(products))
            spread += sum(map(mul, size, spreads))
            # off + spread radius < radius, in units of 1/one
            demand(
                off * self.radius.den + spread * self.radius.num < one * self.radius.num,
                f"component {i} of the Krawczyk operator leaves the box",
            )

    def sentence(self, details: str) -> str:
        """What has been proved if F = 0 is what the queries ask for."""
        return (
            f"some prompt of {in_words(sum(self.counts))} tokens close to the stated one meets every query "
            f"({details}, unknowns: {len(self.unknowns)})"
        )


def read_token_box(fields: list[Field], setting: Setting, components: int) -> TokenBox:
    """The fields of a witness with the names FIELDS, for a system with so many components."""
    tokens_field, counts_field, radius, unknowns_field, preconditioner, precision = fields
    d = setting.layer.mlp.d
    tokens = read_tokens(tokens_field, d)
    columns = len(tokens.rows)
    counts = counts_field.numbers(columns)
    if min(counts) < 1:
        counts_field.fail("positive integers", "one that is not")
    if setting.length != sum(counts):
        counts_field.fail("the length of the instance as their sum", in_words(sum(counts)))
    if components > MAX_UNKNOWNS:
        raise OverLimits(f"more than {MAX_UNKNOWNS} unknowns")
    unknowns = []
    for field in unknowns_field.items(components):
        row, column = field.items(2)
        unknowns.append((row.index(d), column.index(columns)))
    if len(set(unknowns)) < components:
        unknowns_field.fail("different entries", "one of them twice")
    bits = precision.integer()
    if not PRECISIONS[0] <= bits <= PRECISIONS[1]:
        precision.fail(f"an integer from {PRECISIONS[0]} to {PRECISIONS[1]}")
    Y = read_matrix(preconditioner, components, components)
    return TokenBox(tokens, counts, read_scalar(radius), tuple(unknowns), Y, bits)
