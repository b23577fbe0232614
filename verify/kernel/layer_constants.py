"""Lipschitz constants of attention and MLP, and the radii of tokens, layer after layer.

With scores l_jk = z_k.q_j, q_j = A z_j + b (A = W_k^T W_q, b = W_k^T b_q), weights s_j over the tokens seen, their mean
m_j and covariance C_j, a head without its value map has the derivative

    sum over k of s_jk z'_k  +  sum over k of s_jk (z_k - m_j) (q_j.z'_k)  +  C_j A z'_j.

Norm `max`, |z'_k| <= 1: the first is at most 1; the second at most |q_j| R (Cauchy-Schwarz with the weights, and the
variance in a direction is at most R^2); the third at most R^2 |A|.
Norm `frobenius`, |Z'| = 1: either, token by token, the same bound for first and second together, in each of n rows, and
R^2 |A| for all of the third. Or: with D >= |Z|, the weights differ from those of equal scores by half the scores at
most (the derivative of softmax has norm 1/2 at most), the scores are at most |A| D^2 + sqrt(M) D |b| together, and
averages with equal weights have norm 1, or below 2 with a causal mask (Hardy); this for the first. The second is
Z (diag s_j - s_j s_j^T) Z'^T q_j, at most D/2 (|A| D + sqrt(M) |b|); the third at most D^2/2 |A|.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce

from attention import Head, Layer, joined
from fractions_of_sums import ZERO
from limits import DEADLINE
from multipliers import demand_null
from preimage import Mlp
from rational import ONE, Matrix, Scalar, Vector
from reading import Field
from rounding import length_above, root_above, rounded_up, smaller, square, whole
from spectral_norms import NormProof, gram_size, read_norm_proof
from stack import Region, Stack
from vectors import sum_of


@dataclass(frozen=True)
class HeadNorms:
    """Bounds of |W_k^T W_q|, |W_o W_v| and |W_k^T b_q|."""

    bilinear: Scalar
    value: Scalar
    bias: Scalar

    def slope(self, region: Region, norm: str, kind: str, causal: bool) -> Scalar:
        """The Lipschitz constant of the head without its value map."""
        R, M = region.radius(), region.tokens
        rho, rows = (R, M) if kind == "joint" else (region.input_radius, region.input_length)
        spread = self.bilinear * square(R)
        moved = ONE + R * (self.bilinear * rho + self.bias)
        if norm == "max":
            return rounded_up(moved + spread)
        D = region.squared()
        averages, weights = whole(2 if causal else 1), Scalar(3, 2) * self.bilinear * D
        return smaller(
            rounded_up(root_above(whole(rows)) * moved + spread),
            rounded_up(averages + weights + root_above(whole(M) * D) * self.bias),
        )


@dataclass(frozen=True)
class LayerNorms:
    """Norms of the heads, maybe |[W_o ... W_o]| and each |W_v|, the Lipschitz constant of the MLP without its skip
    connection, and the length of MLP(0)."""

    heads: tuple[HeadNorms, ...]
    output: tuple[Scalar, tuple[Scalar, ...]] | None
    mlp: Scalar
    shift: Scalar

    def _combined(self, slopes: Sequence[Scalar]) -> Scalar:
        """What all heads together make of numbers for each."""
        result = rounded_up(sum_of(head.value * slope for head, slope in zip(self.heads, slopes, strict=True)))
        if self.output is None:
            return result
        joint, values = self.output
        squares = sum_of(square(value * slope) for value, slope in zip(values, slopes, strict=True))
        return smaller(result, rounded_up(joint * root_above(squares)))

    def attention(self, region: Region, norm: str, kind: str, causal: bool) -> Scalar:
        """The Lipschitz constant of the attention."""
        return self._combined([head.slope(region, norm, kind, causal) for head in self.heads])

    def after(self, region: Region, causal: bool) -> Region:
        """A region that holds the tokens after the layer."""
        gain = self._combined([ONE] * len(self.heads))

        def moved(radius: Scalar, seen: Scalar) -> Scalar:
            return rounded_up((ONE + self.mlp) * (radius + gain * seen) + self.shift)

        R, own = region.radius(), region.prompt_radius
        return replace(
            region, prompt_radius=moved(own, own if causal else R), input_radius=moved(region.input_radius, R)
        )


@dataclass(frozen=True)
class LayerProof:
    """Norm proofs: for each head those of W_k^T W_q and W_o W_v; of [W_o ... W_o] and each W_v; of W_1 and W_2."""

    heads: tuple[tuple[NormProof, NormProof], ...]
    output: tuple[NormProof, tuple[NormProof, ...]] | None
    mlp: tuple[NormProof, NormProof] | None

    def norms(self, layer: Layer, where: str) -> LayerNorms:
        """The norms, all proofs checked."""
        output = None
        if self.output is not None:
            joint, values = self.output
            pairs = enumerate(zip(layer.heads, values, strict=True))
            output = (
                joint.above_norm(_all_outputs(layer.heads), f"{where}, joined"),
                tuple(proof.above_norm(head.W_v, f"{where}, head {i}, W_v") for i, (head, proof) in pairs),
            )
        heads = []
        for i, (head, (bilinear, value)) in enumerate(zip(layer.heads, self.heads, strict=True)):
            DEADLINE.check()
            A, V = head.W_k.transposed().times(head.W_q), head.W_o.times(head.W_v)
            name = f"{where}, head {i}"
            heads.append(
                HeadNorms(
                    bilinear.above_norm(A, f"{name}, bilinear"),
                    value.above_norm(V, f"{name}, value"),
                    length_above(head.W_k.transposed() @ head.b_q),
                )
            )
        return LayerNorms(tuple(heads), output, *self._mlp(layer.mlp, where))

    def _mlp(self, mlp: Mlp, where: str) -> tuple[Scalar, Scalar]:
        """The Lipschitz constant b of the MLP without its skip connection, and its length at 0."""
        if self.mlp is None:
            return ZERO, ZERO
        first, second = self.mlp
        b = first.above_norm(mlp.W_1, f"{where}, W_1") * second.above_norm(mlp.W_2, f"{where}, W_2")
        shift = length_above(mlp.output(Vector((0,) * mlp.d, 1)))
        return rounded_up(b) if mlp.units else ZERO, shift


def _all_outputs(heads: Sequence[Head]) -> Matrix:
    """[W_o ... W_o]."""
    return reduce(joined, (head.W_o.transposed() for head in heads)).transposed()


def constants(stack: Stack, proofs: Sequence[LayerProof], kind: str) -> Iterator[tuple[Scalar, Scalar]]:
    """a and b of each layer, at its radii."""
    region = stack.entered()
    for l, (layer, proof) in enumerate(zip(stack.layers, proofs, strict=True)):
        DEADLINE.check()
        norms = proof.norms(layer, f"layer {l}")
        yield norms.attention(region, stack.norm, kind, stack.causal), norms.mlp
        region = norms.after(region, stack.causal)


def read_layer_proof(field: Field, layer: Layer, with_mlp: bool = True) -> LayerProof:
    """The norm proofs of a layer; without those of W_1 and W_2, both are null."""
    heads_field, output_field, W_1, W_2 = field.record("heads", "output", "W_1", "W_2")
    d, heads = layer.mlp.d, []
    for place in heads_field.items(len(layer.heads)):
        bilinear, value = place.record("bilinear", "value")
        heads.append((read_norm_proof(bilinear, d), read_norm_proof(value, d)))
    output = None
    if not output_field.is_null():
        joint, values = output_field.record("joined", "values")
        size = min(d, sum(len(head.b_q) for head in layer.heads))
        fields = zip(values.items(len(layer.heads)), layer.heads, strict=True)
        output = read_norm_proof(joint, size), tuple(read_norm_proof(one, gram_size(head.W_v)) for one, head in fields)
    mlp = None
    if with_mlp:
        size = gram_size(layer.mlp.W_1)
        mlp = read_norm_proof(W_1, size), read_norm_proof(W_2, size)
    else:
        demand_null(W_1, True)
        demand_null(W_2, True)
    return LayerProof(tuple(heads), output, mlp)


def read_layer_proofs(field: Field, layers: Sequence[Layer]) -> tuple[LayerProof, ...]:
    """The layer proofs of all layers."""
    return tuple(read_layer_proof(one, layer) for one, layer in zip(field.items(len(layers)), layers, strict=True))
