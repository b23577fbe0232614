"""Layers applied to tokens in intervals."""

from collections.abc import Iterable

from attention import Head, Layer
from interval_matrices import Row, Rows, applied, combined, dot, enclosed_row, exponential, plus
from intervals import exactly, total
from limits import DEADLINE, demand
from preimage import Mlp
from rational import Matrix


def enclosed_tokens(tokens: Matrix, bits: int) -> Rows:
    """Rational tokens (rows)."""
    return [enclosed_row(tokens.row(j), bits) for j in range(len(tokens.rows))]


def _attended(head: Head, token: Row, seen: Rows, bits: int) -> Row:
    """What the head gives to the token: V times the weighted mean of what it sees."""
    DEADLINE.check()
    query = plus(applied(head.W_q, token, bits), enclosed_row(head.b_q, bits))
    q = applied(head.W_k.transposed(), query, bits)
    scores = [dot(q, z, bits) for z in seen]
    top = exactly(max(score.hi for score in scores), bits)
    masses = [exponential(score - top) for score in scores]
    mass = total(masses, bits)
    demand(mass.lo > 0, "the precision is too low for the sizes of the scores")
    mean = combined([one.over(mass) for one in masses], seen, bits)
    return applied(head.W_o, applied(head.W_v, mean, bits), bits)


def _mlp(mlp: Mlp, z: Row, bits: int) -> Row:
    hidden = plus(applied(mlp.W_1, z, bits), enclosed_row(mlp.b_1, bits))
    return plus(plus(z, applied(mlp.W_2, [x.clipped() for x in hidden], bits)), enclosed_row(mlp.b_2, bits))


def after_layer(layer: Layer, causal: bool, tokens: Rows, bits: int) -> Rows:
    """All tokens after the layer."""
    result = []
    for j, token in enumerate(tokens):
        seen, moved = tokens[: j + 1] if causal else tokens, token
        for head in layer.heads:
            moved = plus(moved, _attended(head, token, seen, bits))
        result.append(_mlp(layer.mlp, moved, bits))
    return result


def after_layers(layers: Iterable[Layer], causal: bool, tokens: Rows, bits: int) -> Rows:
    """All tokens after all layers."""
    for layer in layers:
        tokens = after_layer(layer, causal, tokens, bits)
    return tokens
