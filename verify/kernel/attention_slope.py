"""Claim `attention-lipschitz`, relation `slope`: no smaller Lipschitz constant, as a derivative is that large.

The region is a convex set with interior points, so the norm of the derivative at any of its points is at most the least
Lipschitz constant.
"""

from dataclasses import dataclass

from attention import Head, joined
from attention_bound import Asked, read_asked
from interval_matrices import Row, applied, dot, enclosed_row, least_square, plus
from intervals import enclosed_exps, exactly, total
from limits import DEADLINE, demand
from rational import Matrix, Scalar
from reading import Field
from rounding import at_most, square
from stack import squared_norm, total_size

BITS = 256


@dataclass(frozen=True)
class Slope:
    """Tokens and a direction (rows)."""

    asked: Asked
    tokens: Matrix
    direction: Matrix

    def check(self) -> str:
        """The derivative at the tokens in the direction is at least the bound times as long."""
        asked, stack = self.asked, self.asked.stack
        region = stack.region
        for radius, count in ((region.prompt_radius, region.prompt_length), (region.input_radius, region.input_length)):
            demand(count == 0 or radius.sign() > 0, "a radius is 0")
        region.demand_holds(self.tokens, "the point")
        rows = [self.direction.row(k) for k in range(len(self.direction.rows))]
        first = region.first_row(asked.kind)
        demand(all(row.is_zero() for row in rows[:first]), "the direction moves a token of the prompt")
        length = squared_norm(rows, stack.norm)
        demand(length.sign() > 0, "the direction is 0")
        if asked.bound.sign() > 0:
            reached = at_most(square(asked.bound) * length, self._squared(first))
            demand(reached, "the derivative is not shown to be so large")
        return (
            "on the region the attention of this layer has no Lipschitz constant below the stated bound "
            f"({asked.describe()})"
        )

    def _squared(self, first: int) -> Scalar:
        """From below, the square of the norm of the derivative."""
        stack = self.asked.stack
        Z = stack.embedded(self.tokens)
        sizes = []
        for j in range(first, len(Z.rows)):
            seen = j + 1 if stack.causal else len(Z.rows)
            derivative = [exactly(0, BITS)] * stack.d
            for head in stack.layers[0].heads:
                derivative = plus(derivative, _derivative(head, Z, self.direction, j, seen))
            sizes.append(least_square(derivative))
        return total_size(sizes, stack.norm)


def _derivative(head: Head, Z: Matrix, direction: Matrix, j: int, seen: int) -> Row:
    """V times the sum over k of s_k (z'_k + (l'_k - mean of all l') z_k), with scores l_k = z_k.(A z_j + b)."""
    DEADLINE.check()
    tokens, moves = (Matrix(part.rows[:seen], part.den, part.width) for part in (Z, direction))
    q, q_moved = head.logit_vector(Z.row(j)), head.W_k.transposed() @ (head.W_q @ direction.row(j))
    scores = tokens @ q
    masses = enclosed_exps(scores, Scalar(max(scores.num), scores.den), BITS)
    weights = [mass.over(total(masses, BITS)) for mass in masses]
    changes = enclosed_row(moves @ q + tokens @ q_moved, BITS)
    mean = dot(weights, changes, BITS)
    changed = [weight * (change - mean) for weight, change in zip(weights, changes, strict=True)]
    moved = plus(applied(moves.transposed(), weights, BITS), applied(tokens.transposed(), changed, BITS))
    return applied(head.W_o, applied(head.W_v, moved, BITS), BITS)


def read_slope(instance: Field, witness: Field) -> Slope:
    """The statement of a certificate and its witness, read but not checked."""
    asked = read_asked(instance)
    P, X, direction = witness.record("P", "X", "direction")
    region, read = asked.stack.region, asked.stack.read_tokens
    tokens = joined(read(P, region.prompt_length), read(X, region.input_length))
    return Slope(asked, tokens, read(direction, region.tokens))
