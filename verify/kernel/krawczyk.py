"""Claim `several-queries`, relation `prompt`: near the stated tokens there is a prompt that meets every query.

For each group F has the components C_i + sum over tokens p of count e^{q.p} (V p - a_i), i its first query, and, if it
has an equation, sum count e^{q.p} - gamma/delta, all divided by e^reference, which keeps the numbers small. Let x be the
unknown entries of the tokens, B the box of radius r around the stated x_0, and J an enclosure of the derivatives of F
on B. If in each component
    |Y F(x_0)| + |1 - Y J| (r, ..., r) < r,
then x - Y F(x) maps B into itself (mean value theorem, row by row), so it has a fixed point (Brouwer), and there
Y F(x) = 0. As |1 - Y J| (r, ..., r) < (r, ..., r), the matrix Y J(x) is invertible, so Y is, and F(x) = 0.
"""

from dataclasses import dataclass
from operator import mul

from attention import read_tokens
from expsum import ExpSum, exponential
from intervals import Interval, enclosed, enclosed_exp, enclosed_exps, exactly, total
from limits import DEADLINE, OverLimits, bounded, demand
from loss_bounds import PRECISIONS
from mass_equation import Equation, Wish, Wishes, reciprocal, wish
from prompt_setting import PromptSetting
from query_groups import Group, Groups, Places, demand_equations, demand_targets, read_places, vectors_by_query
from rational import ONE, Matrix, Scalar, Vector, read_matrix, read_scalar, read_vector
from reading import Field

MAX_UNKNOWNS = 1000
Row = list[Interval]


@dataclass(frozen=True)
class PromptBox:
    """Tokens (rows), each taken so many times, of which some entries are unknown up to the radius."""

    setting: PromptSetting
    groups: Groups
    points: tuple[Vector, ...]
    places: Places
    references: Vector
    tokens: Matrix
    counts: tuple[int, ...]
    radius: Scalar
    unknowns: tuple[tuple[int, int], ...]
    preconditioner: Matrix
    bits: int

    def check(self) -> str:
        """The condition on Y, with all entries of F(x_0) and J enclosed."""
        demand_targets(self.setting, self.points)
        vectors = vectors_by_query(self.groups)
        wishes = tuple(wish(self.setting, k, q, z) for k, (q, z) in enumerate(zip(vectors, self.points, strict=True)))
        equations = demand_equations(self.groups, Wishes(wishes, None, None), self.places, "")
        demand(self.radius.sign() > 0, "the radius is not positive")
        F: Row = []
        J: list[Row] = []
        for g, (group, equation) in enumerate(zip(self.groups, equations, strict=True)):
            reference = Scalar(self.references.num[g], self.references.den)
            values, slopes = self._block(group, wishes[group.queries[0]], equation, reference)
            F += values
            J += slopes
        self._demand_contraction(F, J)
        return (
            f"some prompt of {sum(self.counts)} tokens close to the stated one meets every query "
            f"({self.setting.describe()}, logit vectors: {len(self.groups)}, unknowns: {len(self.unknowns)})"
        )

    def _block(self, group: Group, wanted: Wish, equation: Equation | None, reference: Scalar) -> tuple[Row, list[Row]]:
        """The components of F at x_0 for one group, and a row of J for each."""
        bits, head, d = self.bits, self.setting.head, len(wanted.a)
        V = [head.value(Vector(tuple(int(i == r) for i in range(d)), 1)) for r in range(d)]  # its columns
        F = [_enclosed_sum(C, reference, bits) for C in wanted.C]
        J: list[Row] = [[exactly(0, bits)] * len(self.unknowns) for _ in range(d + (equation is not None))]
        own: dict[int, list[int]] = {}
        for u, (_, j) in enumerate(self.unknowns):
            own.setdefault(j, []).append(u)
        scores = self.tokens @ group.q
        weights = [
            weight.scaled(Scalar(count, 1))
            for weight, count in zip(enclosed_exps(scores, reference, bits), self.counts, strict=True)
        ]
        for j, weight in enumerate(weights):
            DEADLINE.check()
            values = head.value(self.tokens.row(j)) - wanted.a
            for c, n in enumerate(values.num):
                F[c] += weight * enclosed(Scalar(n, values.den), bits)
            if j in own:
                self._fill(J, j, own[j], group.q, Scalar(scores.num[j], scores.den) - reference, values, V)
        if equation is not None:
            mass = equation.gamma.scaled(reciprocal(equation.delta))
            F.append(total(weights, bits) - _enclosed_sum(mass, reference, bits))
        return F, J

    def _fill(
        self, J: list[Row], j: int, own: list[int], q: Vector, score: Scalar, values: Vector, V: list[Vector]
    ) -> None:
        """The derivatives by the unknown entries of token j, e^{q.p} (q_r (V p - a) + V_r) and e^{q.p} q_r, times its
        count."""
        bits, rows = self.bits, [self.unknowns[u][0] for u in own]
        moved = self._moved(q, rows)
        weight = Interval(enclosed_exp(score - moved, bits).lo, enclosed_exp(score + moved, bits).hi, bits)
        weight = weight.scaled(Scalar(self.counts[j], 1))
        for c, n in enumerate(values.num):
            middle, entries = Scalar(n, values.den), Vector(tuple(column.num[c] for column in V), V[0].den)
            moved = self._moved(entries, rows)
            value = Interval(enclosed(middle - moved, bits).lo, enclosed(middle + moved, bits).hi, bits)
            for u, r in zip(own, rows, strict=True):
                entry = enclosed(Scalar(entries.num[r], entries.den), bits)
                J[c][u] = weight * (value.scaled(Scalar(q.num[r], q.den)) + entry)
        for row in J[len(values) :]:  # of the equation, if there is one
            for u, r in zip(own, rows, strict=True):
                row[u] = weight.scaled(Scalar(q.num[r], q.den))

    def _moved(self, factors: Vector, rows: list[int]) -> Scalar:
        """How far the product with the factors moves, if these rows of a token move by the radius."""
        return self.radius * Scalar(sum(abs(factors.num[r]) for r in rows), factors.den)

    def _demand_contraction(self, F: Row, J: list[Row]) -> None:
        """All in integers: enclosures are (middle +- half)/2 in units of 2^-bits, and Y is a matrix over one den."""
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


def _enclosed_sum(value: ExpSum, reference: Scalar, bits: int) -> Interval:
    value *= exponential(ONE, -reference)
    return Interval(*value.enclosed(0, bits), bits).scaled(Scalar(1, value.coefficient_den))


def read_prompt_box(setting: PromptSetting, groups: Groups, witness: Field) -> PromptBox:
    """The witness of a certificate, read but not checked."""
    points, equations, references, tokens_field, counts_field, radius, unknowns_field, preconditioner, precision = (
        witness.record(
            "points", "equations", "references", "tokens", "counts", "radius", "unknowns", "preconditioner", "precision"
        )
    )
    d = setting.layer.mlp.d
    tokens = read_tokens(tokens_field, d)
    columns = len(tokens.rows)
    counts = counts_field.numbers(columns)
    if min(counts) < 1:
        counts_field.fail("positive integers", "one that is not")
    if setting.length != sum(counts):
        counts_field.fail("the length of the instance as their sum", str(sum(counts)))
    places = read_places(equations, setting, len(groups))
    components = d * len(groups) + sum(place is not None for place in places)
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
    return PromptBox(
        setting,
        groups,
        tuple(read_vector(field, d) for field in points.items(len(setting.queries))),
        places,
        read_vector(references, len(groups)),
        tokens,
        tuple(counts),
        read_scalar(radius),
        tuple(unknowns),
        read_matrix(preconditioner, components, components),
        bits,
    )
