"""Ranks and norms of a layer of a real network, all proved, and the constants of THEORY section 7 that follow.

The model of section 0 has no factor 1/√s between scores and softmax: W_q and b_q stand for themselves divided by √s
here, exactly where s is a square, within 2^-120 where it is not. A key bias adds to all scores of a query the same
number, so softmax does not see it; value and output biases shift the output of attention by one vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from flint import fmpq, fmpz_mat

from constructions.checkpoints.weights import LayerWeights
from constructions.depth.constants import HeadNorms, JoinedNorms, LayerNorms, Region, length_above
from constructions.numbers.dyadic import Floats, dyadic, dyadic_vector, power_of_two
from constructions.numbers.gram_norms import Rows, product_norm
from constructions.numbers.norm_enclosure import ZERO, NormEnclosure, enclose_norm
from constructions.numbers.rank import RankProof, prove_rank
from constructions.numbers.spectral_norm import NormProof, above, below, root_above, root_below

Step = Callable[[str], None]
"""Is told what was finished."""
_ROUNDED = 1 - fmpq(1, 2**90)
"""More than what rounding upwards adds to a constant."""


@dataclass(frozen=True)
class HeadReport:
    """One query head: ranks of W_q, W_k, W_v; norms of W_q/√s, W_k, W_v, its columns of W_o, ``bilinear`` W_k^T W_q/√s,
    ``value`` W_o W_v; and the length of W_k^T b_q/√s."""

    head: int
    group: int
    ranks: dict[str, RankProof]
    W_q: NormEnclosure
    W_k: NormEnclosure
    W_v: NormEnclosure
    W_o: NormEnclosure
    bilinear: NormEnclosure
    value: NormEnclosure
    bias: NormEnclosure


@dataclass(frozen=True)
class LayerReport:
    """All that is proved of one layer. ``output`` is ‖[W_o^1 … W_o^h]‖, ``shift`` an upper bound of the length of what
    value and output biases add, ``at_zero`` one of |W_2 ReLU(b_1) + b_2|; W_1, W_2, W_gate are None without an MLP or
    gate."""

    index: int
    width: int
    head_size: int
    causal: bool
    heads: tuple[HeadReport, ...]
    output: NormEnclosure
    W_1: NormEnclosure | None
    W_2: NormEnclosure | None
    W_gate: NormEnclosure | None
    shift: fmpq
    at_zero: fmpq

    @property
    def mlp(self) -> NormEnclosure | None:
        """``‖W_1‖ ‖W_2‖``; 0 without an MLP, None for a gated one, which has no Lipschitz constant."""
        if self.W_gate is not None:
            return None
        return ZERO if self.W_1 is None or self.W_2 is None else self.W_1 * self.W_2

    def attention(self, R: fmpq) -> NormEnclosure:
        """The attention constant of section 7 for tokens of length at most R: norm max, all tokens vary.

        What is enclosed is the theory's formula at the exact norms, an upper bound of how much attention can stretch.
        """
        region = Region(R, R, 1, 1)
        low, high = (norms.attention(region, "max", "joint") for norms in (self._below, self._above))
        return NormEnclosure(low * _ROUNDED, high)

    def largest_radius(self) -> fmpq | None:
        """A radius up to which the attention constant is below 1, close to the largest; None where it is not shown to
        be below 1 at any radius. At most 2^64."""
        norms = self._above
        high = fmpq(2) ** 64

        def small(R: fmpq) -> bool:
            return norms.attention(Region(R, R, 1, 1), "max", "joint") < 1

        if small(high):
            return high
        if not small(fmpq(0)):
            return None
        low = fmpq(0)
        while high > power_of_two(-200) and (low == 0 or high - low > low / 2**20):
            middle = (low + high) / 2 if low else high / 2
            low, high = (middle, high) if small(middle) else (low, middle)
        return below(low, 30)

    def after(self, R: fmpq) -> fmpq:
        """The longest token after the layer."""
        return self._above.after(Region(R, R, 1, 1)).radius

    @cached_property
    def _above(self) -> LayerNorms:
        return self._norms("upper")

    @cached_property
    def _below(self) -> LayerNorms:
        return self._norms("lower")

    def _norms(self, side: str) -> LayerNorms:
        def proved(norm: NormEnclosure | None) -> NormProof:
            return NormProof(fmpq(0) if norm is None else getattr(norm, side), None)

        heads = tuple(HeadNorms(proved(h.bilinear), proved(h.value), proved(h.bias).bound) for h in self.heads)
        joined = JoinedNorms(proved(self.output), tuple(proved(h.W_v) for h in self.heads))
        W_1, W_2 = proved(self.W_1), proved(self.W_2)
        offset = self.at_zero + (1 + W_1.bound * W_2.bound) * self.shift
        return LayerNorms(heads, joined if len(heads) > 1 else None, W_1, W_2, above(offset), self.causal)


def measure(weights: LayerWeights, error: fmpq, *, causal: bool, scaled: bool, step: Step | None = None) -> LayerReport:
    """Everything about one layer; each norm with a relative error of at most ``error``.

    ``scaled``: scores are divided by √s. Raises ValueError for an error out of range, ArithmeticError when no proof of
    a norm is found.
    """
    tell = step or (lambda _: None)
    square = fmpq(1, weights.head_size) if scaled else fmpq(1)
    groups = [_Group.of(weights, i, error) for i in range(weights.groups)]
    heads = []
    for i in range(weights.heads):
        heads.append(_head(weights, i, groups[weights.group(i)], square, error))
        tell(f"layer {weights.index}, head {i}")
    d = weights.width
    output = enclose_norm(weights.W_o.transpose(1, 0, 2).reshape(d, -1), error)
    W_1, W_2, W_gate = (
        None if W is None else enclose_norm(W, error) for W in (weights.W_1, weights.W_2, weights.W_gate)
    )
    tell(f"layer {weights.index}, MLP")
    values = [x for group in range(weights.groups) for x in _times(weights.b_v, group, weights.heads // weights.groups)]
    shift = output.upper * length_above(values) + _length(weights.b_o)
    positive = [max(x, fmpq(0)) for x in dyadic_vector(weights.b_1)] if weights.b_1 is not None else []
    at_zero = (W_2.upper if W_2 is not None else fmpq(0)) * length_above(positive) + _length(weights.b_2)
    return LayerReport(
        weights.index,
        d,
        weights.head_size,
        causal,
        tuple(heads),
        output,
        W_1,
        W_2,
        W_gate,
        above(shift),
        above(at_zero),
    )


@dataclass(frozen=True)
class _Group:
    """A key and value head."""

    keys: Rows
    values: Rows
    ranks: dict[str, RankProof]
    W_k: NormEnclosure
    W_v: NormEnclosure

    @classmethod
    def of(cls, weights: LayerWeights, index: int, error: fmpq) -> _Group:
        keys, values = weights.W_k[index], weights.W_v[index]
        rows = Rows.of(keys), Rows.of(values)
        ranks = {"W_k": prove_rank(rows[0].M), "W_v": prove_rank(rows[1].M)}
        return cls(*rows, ranks, enclose_norm(keys, error), enclose_norm(values, error))


def _head(weights: LayerWeights, i: int, group: _Group, square: fmpq, error: fmpq) -> HeadReport:
    W_q, W_o = weights.W_q[i], weights.W_o[i]
    queries = Rows.of(W_q)
    return HeadReport(
        i,
        weights.group(i),
        {"W_q": prove_rank(queries.M), **group.ranks},
        enclose_norm(W_q, error).times_root(square),
        group.W_k,
        group.W_v,
        enclose_norm(W_o, error),
        product_norm(group.keys, queries, error).times_root(square),
        product_norm(Rows.of(W_o.T), group.values, error),
        _bias(weights.b_q, i, group.keys).times_root(square),
    )


def _bias(b_q: Floats | None, i: int, keys: Rows) -> NormEnclosure:
    """|W_k^T b_q|."""
    if b_q is None or not b_q[i].any():
        return ZERO
    b, exponent = dyadic(b_q[i][:, None])
    image: fmpz_mat = keys.M.transpose() * b
    square = fmpq((image.transpose() * image)[0, 0])
    unit = power_of_two(keys.exponent + exponent)
    return NormEnclosure(root_below(square) * unit, root_above(square) * unit)


def _times(values: Floats | None, group: int, count: int) -> Sequence[fmpq]:
    """A group's value bias, once for each query head of the group."""
    return [] if values is None else dyadic_vector(values[group]) * count


def _length(values: Floats | None) -> fmpq:
    return fmpq(0) if values is None else length_above(dyadic_vector(values))
