"""The derivative of attention on a box of tokens, in intervals.

With weights s_k over the tokens that token j sees, their mean m, scores z_k.q, q = A z_j + b, the derivative of output
j by token k has the block  V (s_k (1 + (z_k - m) q^T) + [j = k] C A)  for each head, C = sum of s_i (z_i - m) z_i^T.
Also, by differences of tokens,

    z_k - m = sum of s_i (z_k - z_i),    C = sum over i < k of s_i s_k (z_i - z_k) (z_i - z_k)^T,    s_i s_k <= 1/4.

Either way may be the narrower one in intervals, so what is used is in the enclosures by both.
"""

from dataclasses import dataclass

from attention import Head
from interval_matrices import (
    Row,
    Rows,
    added,
    applied,
    applied_to_columns,
    combined,
    dot,
    enclosed_row,
    exponential,
    flipped,
    meet,
    minus,
    outer,
    plus,
)
from intervals import Interval, exactly, total
from limits import DEADLINE
from rational import Matrix, Vector


@dataclass(frozen=True)
class Form:
    """V = W_o W_v, A = W_k^T W_q and b = W_k^T b_q of a head."""

    V: Matrix
    A: Matrix
    b: Vector

    def blocks(self, tokens: Rows, j: int, first: int, bits: int) -> list[Rows]:
        """The blocks of output j by the tokens from the first on; all tokens given are seen."""
        q = plus(applied(self.A, tokens[j], bits), enclosed_row(self.b, bits))
        differences = _differences(tokens, bits)
        weights = [_weight(k, row, q, bits) for k, row in enumerate(differences)]
        mean = combined(weights, tokens, bits)
        centred = [
            list(map(meet, combined(weights, row, bits), minus(z, mean)))
            for row, z in zip(differences, tokens, strict=True)
        ]
        result = []
        for k in range(first, len(tokens)):
            DEADLINE.check()
            inner = outer(centred[k], q)
            for c, row in enumerate(inner):
                row[c] += exactly(1 << bits, bits)
            inner = [[weights[k] * x for x in row] for row in inner]
            block = applied_to_columns(self.V, inner, bits)
            if k == j:
                C = _covariance(weights, tokens, centred, differences, bits)
                right = flipped(applied_to_columns(self.V, C, bits))  # its rows are the columns of V C
                block = added(block, flipped(applied_to_columns(self.A.transposed(), right, bits)))
            result.append(block)
        return result


def form(head: Head) -> Form:
    """The products of the matrices of a head."""
    transposed = head.W_k.transposed()
    return Form(head.W_o.times(head.W_v), transposed.times(head.W_q), transposed @ head.b_q)


def _differences(tokens: Rows, bits: int) -> list[Rows]:
    """z_k - z_i in row k, column i; exactly 0 for i = k."""
    nothing = [exactly(0, bits)] * len(tokens[0])
    return [[nothing if i == k else minus(z, w) for i, w in enumerate(tokens)] for k, z in enumerate(tokens)]


def _weight(k: int, differences: Rows, q: Row, bits: int) -> Interval:
    """s_k = 1 / (the sum of e^{(z_i - z_k).q}), one of which is 1."""
    one = exactly(1 << bits, bits)
    others = (exponential(-dot(row, q, bits)) for i, row in enumerate(differences) if i != k)
    return one.over(one + total(others, bits))


def _covariance(weights: Row, tokens: Rows, centred: Rows, differences: list[Rows], bits: int) -> Rows:
    d, most = len(tokens[0]), Interval(0, 1 << bits - 2, bits)
    pairs = [[exactly(0, bits)] * d for _ in range(d)]
    for k, row in enumerate(differences):
        for i in range(k):
            DEADLINE.check()
            product = outer(row[i], row[i])
            for c, x in enumerate(row[i]):
                product[c][c] = x.square()
            share = meet(weights[i] * weights[k], most)
            pairs = added(pairs, [[share * x for x in line] for line in product])
    plain = [[exactly(0, bits)] * d for _ in range(d)]
    for s, z, from_mean in zip(weights, tokens, centred, strict=True):
        DEADLINE.check()
        plain = added(plain, [[s * x for x in line] for line in outer(from_mean, z)])
    return [list(map(meet, u, v)) for u, v in zip(pairs, plain, strict=True)]
