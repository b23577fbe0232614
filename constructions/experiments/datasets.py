"""The datasets of the experiments: a random layer and a pair of examples that no prompt memorizes, all exact.

Weights are uniform in [−√(3/d), √(3/d)] (variance 1/d), biases in [−1/2, 1/2], the MLP is scaled to ‖W_1‖‖W_2‖ ≈ 1/2,
entries of x_0, y_1, y_2 are uniform in [0, 1); x_1 and x_2 are those of the paper's construction. Source: THEORY
section 8 (cf. Wang et al. 2023, section 7).
"""

from __future__ import annotations

import random
from math import isqrt

from flint import fmpq

from constructions.numbers.rational import RationalMatrix
from constructions.numbers.spectral_norm import below, spectral_norm
from constructions.single_layer.pair import UnmemorizablePair, orthogonal_pair
from constructions.transformer import Attention, FeedForward, Head, Layer

WIDTH = 10
HIDDEN = 20
CONTRACTION = fmpq(1, 2)
WEIGHT_BITS = 12
DATA_BITS = 16


def random_pair(
    seed: int, number: int, *, d: int = WIDTH, hidden: int = HIDDEN, contraction: fmpq = CONTRACTION
) -> UnmemorizablePair:
    """Dataset ``number`` of a seed: a layer of one head of size d ≥ 4, two examples of two tokens that share the last,
    and the proof that no prompt memorizes both.

    ``contraction`` is nearly ‖W_1‖‖W_2‖ of the MLP (below it). The same numbers on every machine, up to the rounding of
    two norms.

    >>> pair = random_pair(0, 0, d=4, hidden=3)
    >>> pair.proof.argument, [example.X.shape for example in pair.data.examples]
    ('cone', [(4, 2), (4, 2)])
    """
    rng = random.Random(f"experiments/{seed}/{number}")
    reach = isqrt(3 * 4**WEIGHT_BITS // d)

    def uniform(rows: int, columns: int, limit: int) -> RationalMatrix:
        entries = [[fmpq(rng.randint(-limit, limit), 2**WEIGHT_BITS) for _ in range(columns)] for _ in range(rows)]
        return RationalMatrix.of(entries, columns=columns)

    def point() -> list[fmpq]:
        return [fmpq(rng.randrange(2**DATA_BITS), 2**DATA_BITS) for _ in range(d)]

    head = Head(uniform(d, d, reach), uniform(d, d, reach), uniform(d, d, reach))
    W_1, W_2 = uniform(hidden, d, reach), uniform(d, hidden, reach)
    half = 2 ** (WEIGHT_BITS - 1)
    size = spectral_norm(W_1).bound * spectral_norm(W_2).bound
    W_2 = W_2.scaled(below(contraction / size, WEIGHT_BITS))
    mlp = FeedForward(W_1, uniform(hidden, 1, half), W_2, uniform(d, 1, half))
    return orthogonal_pair(Layer(Attention((head,)), mlp), point(), point(), point())
