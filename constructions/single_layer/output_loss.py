"""From the loss before the MLP to the loss of the outputs, and the outputs' loss of given weights and prompt in balls.

With ρ = ‖W_1‖‖W_2‖ < 1 the MLP changes every distance by a factor between 1 − ρ and 1 + ρ, so the loss of the outputs
lies between (1 − ρ)² and (1 + ρ)² times the loss before the MLP. Source: THEORY section 3.1, item 3.
"""

from __future__ import annotations

from collections.abc import Sequence

from flint import arb, fmpq

from constructions.data import Query
from constructions.numbers.balls import BallMatrix
from constructions.numbers.rational import RationalMatrix
from constructions.numbers.spectral_norm import TIGHT, spectral_norm
from constructions.single_layer.loss_problem import square_distance
from constructions.transformer import FeedForward, Transformer

FINEST = fmpq(1, 2**38)


def output_factors(mlp: FeedForward) -> tuple[fmpq, fmpq] | None:
    """``((1 − ρ)², (1 + ρ)²)`` with a rational ρ ≥ ‖W_1‖‖W_2‖ below 1; None where no such ρ is found, or where units
    are not ReLU.

    >>> R = RationalMatrix.of
    >>> output_factors(FeedForward.none(2))
    (1, 1)
    >>> output_factors(FeedForward(R([[1]]), R([[0]]), R([[2]]), R([[0]]))) is None
    True
    """
    for error in (TIGHT, FINEST) if mlp.units is None else ():
        rho = spectral_norm(mlp.W_1, error).bound * spectral_norm(mlp.W_2, error).bound
        if rho < 1:
            return (1 - rho) * (1 - rho), (1 + rho) * (1 + rho)
    return None


def output_loss(model: Transformer, queries: Sequence[Query], prompt: RationalMatrix | None = None) -> arb:
    """``Σ_k |output_k − y_k|²`` of a single layer with ``prompt`` (d×m_p, its embedding added) in front of every
    context, as a ball.

    >>> from constructions.data import Dataset, Example
    >>> from constructions.transformer import Attention, Head, Layer
    >>> one = RationalMatrix.of([[1]])
    >>> model = Transformer((Layer(Attention((Head(one, one, one),)), FeedForward.none(1)),))
    >>> data = Dataset((Example(RationalMatrix.of([[2, 2]]), RationalMatrix.of([[7]])),))
    >>> output_loss(model, list(data.queries(model)))  # 2 + 2 for 7
    9.00000000000000
    """
    total = arb(0)
    for query in queries:
        seen = query.context if prompt is None else prompt.hstack(query.context)
        column = query.column + (0 if prompt is None else prompt.shape[1])
        output = model.layers[0].output(BallMatrix.embed(seen), column)
        total += square_distance([output[i, 0] for i in range(model.width)], query.target)
    return total
