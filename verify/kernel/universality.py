"""Universality: the grid, the ids of its columns, and what the claims about the networks have in common.

Inputs are d x m, every entry has k grid values, delta = 1/k. Ids are multiples of delta, kept as integers: id/delta.
"""

from dataclasses import dataclass
from math import gcd

import limits
from limits import DEADLINE, OverLimits, demand
from rational import ONE, Scalar, read_scalar
from reading import SAFE, Field

MAX_CONTEXT_BITS = 1 << 22


@dataclass(frozen=True)
class Grid:
    """d, m >= 1 and k >= 2."""

    d: int
    m: int
    k: int

    def describe(self) -> str:
        """The grid, in words."""
        return f"d = {self.d}, m = {self.m}, k = {self.k}"


@dataclass(frozen=True)
class ContextualMap:
    """n columns with c codes each, c^n contexts, U = 1 + k + ... + k^{d-1}; G is the factor of the global shift.

    The column with number j (from 0) and code a has the id j U + a delta, where (c-1) delta < U, so ids of different
    columns differ, and come in the order of the columns.
    """

    grid: Grid
    G: int
    c: int
    n: int
    unit: int
    contexts: int

    def demand_one_firing(self) -> None:
        """No column is lifted twice in the sweep, which goes through all possible ids in increasing order.

        It lifts column 0 to c l_{n-1} - (c-1) l_0, at least c (n-1) U - (c-1)^2 delta. The condition is that this is
        above all possible ids, at most (n-1) U + (c-1) delta; in multiples of delta/(c-1). Then column j is the
        lowest and column j-1 the highest at its turn, and it is lifted to c l~_{j-1} - (c-1) l_j > l~_{j-1}.
        """
        c, k, n = self.c, self.grid.k, self.n
        enough = (n - 1) * (c - 1) ** 2 * k >= (k - 1) * (c**2 - c + 1)
        demand(n >= 3 and enough, "a column may fire twice in the sweep")

    def id_bound(self) -> int:
        """More than every id after the sweep, in multiples of delta: c^n ((n-1) U k + c)."""
        return self.contexts * ((self.n - 1) * self.unit * self.grid.k + self.c)

    def demand_shift(self) -> None:
        """All ids of read columns differ after the shift.

        l~_{n-1} = c^n l_{n-1} - (c-1) sum of c^{n-1-j} l_j. With a_j the codes and A = sum of c^{n-1-j} a_j, this is
        delta (c^n a_{n-1} - (c-1) A) up to a constant. A is in [0, c^n), and c - 1 has no factor in common with c^n:
        l~_{n-1} determines A and all codes. So l~_{n-1} differs by delta or more between contexts, and G l~_{n-1} by
        more than ids differ before the shift, which are in (0, G delta). In one context ids increase.
        With m = 1 only column n - 1 is read, and no shift is needed.
        """
        without = self.grid.m == 1 and self.G == 0
        demand(without or self.id_bound() <= self.G, "the shift by G is not shown to separate the ids")

    def read_ids(self, codes: tuple[int, ...]) -> list[int]:
        """The ids of the last m columns of a context after sweep and shift, in multiples of delta."""
        ids = [j * self.unit * self.grid.k + code for j, code in enumerate(codes)]
        swept = [ids[-1]]  # the formula of column j > 0 gives l~_0 from this
        for old in ids:
            DEADLINE.check()
            swept.append(self.c * swept[-1] - (self.c - 1) * old)
        return [new + self.G * swept[-1] for new in swept[-self.grid.m :]]


def contextual_map(grid: Grid, G: int) -> ContextualMap:
    """The numbers c, n, U, c^n, within the limit on c^n."""
    d, m, k = grid.d, grid.m, grid.k
    too_long = OverLimits(f"c^n has more than {MAX_CONTEXT_BITS} bits")
    if d * m * (k.bit_length() - 1) > MAX_CONTEXT_BITS.bit_length():
        raise too_long  # n > k^{dm} is already longer than that, and c >= 2
    c, n = k**d, m * (k ** (d * m) + 1)
    if n * (c.bit_length() - 1) > MAX_CONTEXT_BITS:
        raise too_long
    contexts = c**n
    if contexts.bit_length() > MAX_CONTEXT_BITS:
        raise too_long
    return ContextualMap(grid, G, c, n, (c - 1) // (k - 1), contexts)


@dataclass(frozen=True)
class Quantisation:
    """Functions with Lipschitz constant L in the p-norm, replaced by grid values on the cells of a grid."""

    grid: Grid
    L: Scalar
    p: Scalar
    roots: tuple[Scalar, Scalar]

    def bound(self) -> Scalar:
        """r_1 (delta/2) (L/r_2 + 1), where r_1 >= (dm)^{1/p} and 0 < r_2 <= (p+1)^{1/p} are checked.

        Let C be the centre of the cell of X. f(C) is within delta/2 of its grid value in each of the dm entries.
        |f(X) - f(C)|_p <= L |X - C|_p, and an entry s of X - C is uniform on [-delta/2, delta/2], so that the mean of
        |s|^p is (delta/2)^p / (p+1). By Minkowski's inequality in L_p the two add up to the bound.
        """
        first, second = self.roots
        demand_positive(first, "the first root")
        demand_positive(second, "the second root")
        entries = Scalar(self.grid.d * self.grid.m, 1)
        demand(against_root(first, entries, self.p) >= 0, "the first root is below (dm)^(1/p)")
        demand(against_root(second, self.p + ONE, self.p) <= 0, "the second root is above (p+1)^(1/p)")
        half = Scalar(1, 2 * self.grid.k)
        return first * half * (self.L * Scalar(second.den, second.num) + ONE)


def demand_positive(number: Scalar, name: str) -> None:
    """number > 0."""
    demand(number.sign() > 0, f"{name} is not positive")


def against_root(root: Scalar, number: Scalar, p: Scalar) -> int:
    """The sign of root - number^{1/p} for positive root, number, p: with p = a/b that of root^a - number^b."""
    above = power(root.num, p.num) * power(number.den, p.den)
    below = power(number.num, p.den) * power(root.den, p.num)
    return (above > below) - (above < below)


def power(base: int, exponent: int) -> int:
    """base^exponent for positive integers, within the limit on computed integers."""
    DEADLINE.check()
    if base.bit_length() * exponent > limits.MAX_COMPUTED_BITS:
        raise OverLimits("a power is too long")
    return int(base**exponent)


def read_grid(d: Field, m: Field, k: Field) -> Grid:
    """Three integers; long ones are over the limits of whatever is asked about them."""
    for field, least in ((d, 1), (m, 1), (k, 2)):
        number = field.integer()
        if number < least:
            field.fail(f"an integer of at least {least}")
        if number >= SAFE:
            raise OverLimits(f"{field.path}: a grid with a number of more than {SAFE.bit_length() - 1} bits")
    return Grid(d.integer(), m.integer(), k.integer())


def read_map(d: Field, m: Field, k: Field, G: Field) -> ContextualMap:
    """A grid and an integer G >= 0."""
    shift = G.integer()
    if shift < 0:
        G.fail("an integer of at least 0")
    return contextual_map(read_grid(d, m, k), shift)


def read_quantisation(grid: Grid, L: Field, p: Field, roots: Field) -> Quantisation:
    """L >= 0 and p >= 1, this one in lowest terms, and two rationals."""
    lipschitz, exponent = read_scalar(L), read_scalar(p)
    if lipschitz.sign() < 0:
        L.fail("a number of at least 0")
    if (exponent - ONE).sign() < 0:
        p.fail("a number of at least 1")
    shared = gcd(exponent.num, exponent.den)
    first, second = map(read_scalar, roots.items(2))
    return Quantisation(grid, lipschitz, Scalar(exponent.num // shared, exponent.den // shared), (first, second))
