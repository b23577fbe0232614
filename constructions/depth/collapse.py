"""The collapse: an invertible four-layer transformer that maps every input to −p, whatever the prompt token p.

d = 2, one prompt token, one input token, uniform attention (W_q = 0), no MLP. The value map of layer l is the real 2×2
matrix of ``z_l − 1``: in the coordinates p ± x the layer multiplies p + x by the complex number z_l and leaves p − x.
The product of the four z_l is −1, so x becomes ((p + x)(−1) − (p − x))/2 = −p. Every ``|z_l − 1| < 1``, so every
layer's attention is a contraction, and the joint map of [p, x] is invertible. Source: THEORY section 7 (ours); proof in
docs/theory/collapse.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from flint import fmpq

from constructions.depth.constants import Region
from constructions.numbers.rational import RationalMatrix
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer

Complex = tuple[fmpq, fmpq]


def times(x: Complex, y: Complex) -> Complex:
    """The product of two complex numbers with rational parts."""
    return x[0] * y[0] - x[1] * y[1], x[0] * y[1] + x[1] * y[0]


def inverse(x: Complex) -> Complex:
    size = x[0] * x[0] + x[1] * x[1]
    return x[0] / size, -x[1] / size


def multipliers() -> list[Complex]:
    """z_1, …, z_4 with product −1 and |z_l − 1| < 1: three times 1 + 3i/4, and −1/(1 + 3i/4)³.

    >>> product = multipliers()[0]
    >>> for z in multipliers()[1:]: product = times(product, z)
    >>> product
    (-1, 0)
    """
    z = (fmpq(1), fmpq(3, 4))
    last = inverse(times(z, times(z, z)))
    return [z, z, z, (-last[0], -last[1])]


def as_matrix(z: Complex) -> RationalMatrix:
    """Multiplication by z on the plane."""
    return RationalMatrix.of([[z[0], -z[1]], [z[1], z[0]]])


def collapse() -> Transformer:
    """The four layers in their plain form (W_q = 0).

    >>> model = collapse()
    >>> P, X = RationalMatrix.of([[5], [-2]]), RationalMatrix.of([["1/3"], [7]])
    >>> outputs(model, P, X).rows()
    [[-5], [2]]
    """
    layers = []
    zeros = RationalMatrix.zeros(2, 2)
    for z in multipliers():
        V = as_matrix((z[0] - 1, z[1]))
        layers.append(Layer(Attention((Head(zeros, zeros, V),)), FeedForward.none(2)))
    return Transformer(tuple(layers))


@dataclass(frozen=True)
class SubspaceCollapse:
    """A model that does the same on the range H of ``basis`` (d×k) only, where all logits vanish.

    ``coordinates`` are the value maps on H: ``V_l B = B N_l``.
    """

    model: Transformer
    basis: RationalMatrix
    coordinates: tuple[RationalMatrix, ...]


def full_rank_collapse(size: fmpq = fmpq(1, 10**6)) -> SubspaceCollapse:  # noqa: B008 - fmpq is immutable
    """The same four layers inside R^4, with W_q and W_k of full rank: ``W_q = I``, ``W_k = size · [[0, I], [I, 0]]``,
    so that the logits of tokens in H = span(e_1, e_2) vanish, and the value map ``blockdiag(z_l − 1, I/2)``.

    >>> found = full_rank_collapse()
    >>> P, X = RationalMatrix.of([[5], [-2], [0], [0]]), RationalMatrix.of([["1/3"], [7], [0], [0]])
    >>> outputs(found.model, P, X).column(0)
    [-5, 2, 0, 0]
    """
    I, O = RationalMatrix.identity(2), RationalMatrix.zeros(2, 2)
    W_k = stacked(O.hstack(I), I.hstack(O)).scaled(size)
    layers, coordinates = [], []
    for z in multipliers():
        N = as_matrix((z[0] - 1, z[1]))
        W_v = stacked(N.hstack(O), O.hstack(I.scaled(fmpq(1, 2))))
        layers.append(Layer(Attention((Head(RationalMatrix.identity(4), W_k, W_v),)), FeedForward.none(4)))
        coordinates.append(N)
    return SubspaceCollapse(Transformer(tuple(layers)), stacked(I, O), tuple(coordinates))


def stacked(top: RationalMatrix, bottom: RationalMatrix) -> RationalMatrix:
    """The rows of both, one below the other."""
    return RationalMatrix.of(top.rows() + bottom.rows(), columns=top.shape[1])


def forgotten_inputs(
    model: Transformer, region: Region
) -> tuple[RationalMatrix, tuple[RationalMatrix, RationalMatrix]] | None:
    """A prompt and two inputs of the region with one output, for uniform attention without MLP and one input token.

    The layers map the input token x to ``x + (W − 1) mean`` with W the product of the ``1 + V_l``; so x and x + u have
    one output, with every prompt, exactly if ``(m_p + W) u = 0``. None when there is no such u, or the model is of
    another kind.

    >>> from constructions.depth.constants import Region
    >>> P, (X, other) = forgotten_inputs(collapse(), Region(fmpq(1), fmpq(1), 1, 1))
    >>> X == other, outputs(collapse(), P, X) == outputs(collapse(), P, other)
    (False, True)
    """
    d, m_p = model.width, region.prompt_length
    if region.input_length != 1 or m_p == 0 or model.causal or model.E is not None or region.input_radius == 0:
        return None
    W = RationalMatrix.identity(d)
    for layer in model.layers:
        silent = all(not any(h.W_q.mat.entries()) and not any(h.b_q.mat.entries()) for h in layer.attention.heads)
        if layer.mlp.hidden or any(layer.mlp.b_2.mat.entries()) or not silent:
            return None
        V = sum((head.V.mat for head in layer.attention.heads), RationalMatrix.zeros(d, d).mat)
        W = RationalMatrix(W.mat + V * W.mat)
    kernel = RationalMatrix(W.mat + RationalMatrix.identity(d).scaled(m_p).mat).nullspace()
    if not kernel:
        return None
    size = sum((abs(x) for x in kernel[0]), fmpq(0))
    u = RationalMatrix.of([[x * region.input_radius / size] for x in kernel[0]])
    return RationalMatrix.zeros(d, m_p), (RationalMatrix.zeros(d, 1), u)


def outputs(model: Transformer, P: RationalMatrix, X: RationalMatrix) -> RationalMatrix:
    """The model on [P, X], input columns only, exactly: for layers whose logits all vanish on the tokens met.

    Hardmax of equal logits is the same average as softmax, and stays rational. Raises ValueError when a logit is not
    zero.
    """
    Z = P.hstack(X) if model.E is None else RationalMatrix(model.E.mat + P.hstack(X).mat)
    for i, layer in enumerate(model.layers):
        for head in layer.attention.heads:
            if any(x != 0 for x in head.logit_vectors(Z).T.times(Z).mat.entries()):
                raise ValueError(f"layer {i}: expected logits of zero, found others")
        found = Layer(Attention(layer.attention.heads, "hardmax", layer.attention.causal), layer.mlp)(Z)
        assert isinstance(found, RationalMatrix)
        Z = found
    return Z.columns(P.shape[1], Z.shape[1])
