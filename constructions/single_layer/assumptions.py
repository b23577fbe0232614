"""The paper's assumptions for the unmemorizable pair, each checked and reported with a witness.

Source: THEORY section 2 (cf. Wang et al. 2023, Theorem 2): full-rank W_q, W_k, W_v; distinct inputs and targets;
targets in the range of the MLP; width at least 2 + the dimension of the span of all shifted preimages. They are
sufficient only: decide() does not need them.
"""

from __future__ import annotations

from constructions.data import Query
from constructions.numbers.definite import norm_product_below_one
from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.pair import shifted_span
from constructions.single_layer.preimage import preimage
from constructions.transformer import FeedForward, Head, Layer
from constructions.verdict import Fact


def full_rank(head: Head, name: str = "head") -> list[Fact]:
    """One fact for each of W_q, W_k, W_v (s×d): rank min(s, d), with the rank or a vector that the matrix kills.

    >>> [fact.holds for fact in full_rank(Head(*[RationalMatrix.of([[1, 2], [2, 4]])] * 3))]
    [False, False, False]
    """
    facts = []
    for label in ("W_q", "W_k", "W_v"):
        matrix: RationalMatrix = getattr(head, label)
        rank, full = matrix.rank(), min(matrix.shape)
        witness = f"rank {rank} of {full}"
        if rank < full:
            flat = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
            dependence = ", ".join(str(x) for x in flat.nullspace()[0])
            side = "columns" if flat is matrix else "rows"
            witness += f": its {side} combined with ({dependence}) vanish"
        facts.append(Fact(f"{name}: {label} has full rank", rank == full, witness))
    return facts


def norm_condition(mlp: FeedForward) -> Fact:
    """``‖W_1‖_2 ‖W_2‖_2 < 1``, certified by rational bounds; fails also when no proof was found."""
    name = "the MLP is injective by ‖W_1‖‖W_2‖ < 1"
    if mlp.hidden == 0:
        return Fact(name, True, "no hidden units")
    bounds = norm_product_below_one(mlp.W_1.mat, mlp.W_2.mat)
    if bounds is None:
        return Fact(name, False, "no rational bounds with product below 1 found")
    return Fact(name, True, f"‖W_1‖² < {bounds[0].square}, ‖W_2‖² < {bounds[1].square}")


def paper_assumptions(layer: Layer, first: Query, second: Query) -> list[Fact]:
    """All assumptions for two queries with a shared token, in the paper's order."""
    facts = []
    for j, head in enumerate(layer.attention.heads):
        facts += full_rank(head, f"head {j}")
    same_token = first.token == second.token
    facts.append(Fact("the two examples share their token", same_token, f"{first} and {second}"))
    facts.append(Fact("the contexts differ", first.context != second.context, f"{first} and {second}"))
    facts.append(Fact("the targets differ", first.target != second.target, f"{first} and {second}"))
    vectors = []
    for query in (first, second):
        found = preimage(layer.mlp, query.target)
        how_many = f"{len(found.points)} preimages" if found.points is not None else "infinitely many preimages"
        facts.append(Fact(f"the target of {query} is in the range of the MLP", not found.is_empty, how_many))
        vectors += shifted_span(found, query.token)
    dimension = RationalMatrix.of(vectors, columns=layer.width).rank() if vectors else 0
    need = 2 + dimension
    facts.append(
        Fact("d ≥ 2 + dim span of the shifted preimages", layer.width >= need, f"d = {layer.width}, 2 + dim = {need}")
    )
    facts.append(norm_condition(layer.mlp))
    return facts
