"""Claim `several-heads`, relation `prompt`: near the stated tokens there is a prompt that meets every query.

For each query i F has the components of the sum over heads j of (B + sum over tokens p of count e^{q.p} V_j p) /
(S + sum of count e^{q.p}), minus z_i - x_i. Let w be one of the weights count e^{q.p}, M the mass (the denominator) and
A the output (the quotient) of a pair: the derivative of A by entry r of p is w (q_r (V p - A) + V e_r) / M.
"""

from dataclasses import dataclass

from attention import Head, Query
from head_pairs import Pairs
from intervals import TOO_COARSE, Interval, enclosed, enclosed_exp, exactly
from krawczyk import FIELDS, Row, TokenBox, read_token_box
from limits import DEADLINE, demand
from rational import Matrix, Scalar, Vector, read_vector
from reading import Field
from vectors import entry, stacked, unit


@dataclass(frozen=True)
class Weighed:
    """A weight, divided by e^reference, and the value V p that it belongs to, both enclosed."""

    weight: Interval
    value: Row


def average(terms: list[Weighed]) -> tuple[Interval, Row]:
    """The sum of the weights, and the weighted mean of the values."""
    bits = terms[0].weight.bits
    mass, totals = exactly(0, bits), [exactly(0, bits) for _ in terms[0].value]
    for term in terms:
        DEADLINE.check()
        mass += term.weight
        totals = [total + term.weight * x for total, x in zip(totals, term.value, strict=True)]
    demand(mass.lo > 0, TOO_COARSE)
    return mass, [total.over(mass) for total in totals]


@dataclass(frozen=True)
class HeadsPrompt:
    """Preimage points, and tokens with unknown entries."""

    pairs: Pairs
    points: tuple[Vector, ...]
    references: Vector
    box: TokenBox

    def check(self) -> str:
        """Krawczyk's test, with all entries of F(x_0) and J enclosed."""
        setting, box, d = self.pairs.setting, self.box, self.pairs.d
        setting.demand_targets(self.points)
        box.demand_radius()
        forms = [stacked([head.value(unit(r, d)) for r in range(d)]).transposed() for head in setting.layer.heads]
        F: Row = []
        J: list[Row] = []
        for i, (query, z) in enumerate(zip(setting.queries, self.points, strict=True)):
            values, slopes = [-enclosed(entry(z - query.token, c), box.bits) for c in range(d)], box.zeros(d)
            for j, (head, V) in enumerate(zip(setting.layer.heads, forms, strict=True)):
                output = self._add_head(slopes, i * len(forms) + j, head, query, V)
                values = [total + x for total, x in zip(values, output, strict=True)]
            F += values
            J += slopes
        box.demand_contraction(F, J)
        return box.sentence(setting.describe())

    def _add_head(self, slopes: list[Row], alpha: int, head: Head, query: Query, V: Matrix) -> Row:
        """The output of a pair at x_0; its derivatives on B are added to the rows of J."""
        box, q, reference = self.box, self.pairs.vectors[alpha], entry(self.references, alpha)
        context = self._fixed(query.context, (1,) * len(query.context.rows), head, q, reference)
        at_centre = self._fixed(box.tokens, box.counts, head, q, reference)
        _, output = average(context + at_centre)
        within = [self._moving(j, head, V, q, reference) if j in box.own else x for j, x in enumerate(at_centre)]
        mass, around = average(context + within)
        for j, unknowns in box.own.items():
            DEADLINE.check()
            share = within[j].weight.over(mass)
            for c, (x, mean) in enumerate(zip(within[j].value, around, strict=True)):
                off = x - mean
                for u, r in unknowns:
                    slope = off.scaled(entry(q, r)) + enclosed(Scalar(V.rows[c][r], V.den), box.bits)
                    slopes[c][u] += share * slope
        return output

    def _fixed(
        self, tokens: Matrix, counts: tuple[int, ...], head: Head, q: Vector, reference: Scalar
    ) -> list[Weighed]:
        """Tokens (rows) as they are stated."""
        bits, scores, result = self.box.bits, tokens @ q, []
        for j, count in enumerate(counts):
            value = head.value(tokens.row(j))
            weight = enclosed_exp(entry(scores, j) - reference, bits).scaled(Scalar(count, 1))
            result.append(Weighed(weight, [enclosed(entry(value, c), bits) for c in range(len(value))]))
        return result

    def _moving(self, j: int, head: Head, V: Matrix, q: Vector, reference: Scalar) -> Weighed:
        """Token j of the prompt, anywhere in B."""
        token = self.box.tokens.row(j)
        value = head.value(token)
        weight = self.box.exponential(j, q.dot(token) - reference, q)
        return Weighed(weight, [self.box.product(j, entry(value, c), V.row(c)) for c in range(len(value))])


def read_heads_prompt(pairs: Pairs, witness: Field) -> HeadsPrompt:
    """The witness of a certificate, read but not checked."""
    points, references, *fields = witness.record("points", "references", *FIELDS)
    box = read_token_box(fields, pairs.setting, pairs.d * len(pairs.setting.queries))
    return HeadsPrompt(pairs, pairs.read_points(points), read_vector(references, len(pairs)), box)
