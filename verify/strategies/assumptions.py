"""Layers and pairs of examples that meet the paper's assumptions for the unmemorizable pair (THEORY section 2)."""

from __future__ import annotations

from flint import fmpq
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from constructions.data import Dataset, Example
from constructions.numbers.rational import RationalLike, RationalMatrix, column_vector
from constructions.transformer import Layer, Transformer
from verify.strategies.arguments import Size, elements_or, exact, invalid, sizes, whole
from verify.strategies.matrices import SMALL, draw_vector
from verify.strategies.models import Elements, HeadDemand, LayerDemand, MLPDemand, draw_layer, layers
from verify.strategies.tokens import draw_tokens, of_tokens

NARROWEST = 3
"""Two targets differ, so their shifted preimages span at least one dimension: d ≥ 2 + 1."""


def paper_layers(
    d: Size | None = None,
    *,
    h: Size | None = None,
    s: Size | None = None,
    r: Size | None = None,
    max_lipschitz: RationalLike = "15/16",
    elements: Elements = None,
) -> SearchStrategy[Layer]:
    """Softmax layers with one head (``h``) whose weights have full rank, and ``‖W_1‖_2 ‖W_2‖_2`` at most
    ``max_lipschitz`` < 1, so that the MLP is injective with all of R^d as its range.

    Sizes as in :func:`layers`. Source: THEORY section 2 (cf. Wang et al. 2023, Theorem 2 and Lemma 4).

    >>> from verify.strategies import smallest
    >>> layer = smallest(paper_layers(2, s=2, r=1))
    >>> layer.attention.heads[0].W_q.rows(), layer.mlp.W_1.rows()
    ([[1, 0], [0, 1]], [[0, 0]])
    """
    if exact("max_lipschitz", max_lipschitz, least=0) >= 1:
        raise invalid("max_lipschitz", "less than 1", max_lipschitz)
    count = 1 if h is None else h
    return layers(d, h=count, s=s, r=r, elements=elements, full_rank=True, max_lipschitz=max_lipschitz)


def paper_pairs(
    d: Size | None = None,
    *,
    h: Size | None = None,
    s: Size | None = None,
    r: Size | None = None,
    max_context: int = 1,
    elements: Elements = None,
) -> SearchStrategy[tuple[Transformer, Dataset]]:
    """(model, data): one layer of :func:`paper_layers` and two examples that end in one token, such that every
    assumption of the paper holds (``constructions.single_layer.assumptions.paper_assumptions``).

    ``d`` is 3 to 5 (at least 3): contexts of up to ``max_context`` tokens and targets differ, targets are in the range
    of the MLP, and d ≥ 2 + the dimension that the shifted preimages span (at d = 3 they are parallel). Such a pair may
    still be memorizable: the theorem asks for contexts that are chosen well.

    >>> from verify.strategies import smallest
    >>> model, data = smallest(paper_pairs())
    >>> model.width, [(example.X.column(0), example.targets.column(0)) for example in data.examples]
    (3, [([0, 0, 0], [0, 0, 0]), ([1, 0, 0], [1, 0, 0])])
    """
    widths = sizes("d", d, st.integers(NARROWEST, 5), least=NARROWEST)
    entries = elements_or(elements, SMALL)
    head = HeadDemand.of(s, elements, full_rank=True, query_bias=False)
    mlp = MLPDemand.of(r, elements, "15/16", "relu")
    demand = LayerDemand(sizes("h", 1 if h is None else h, st.just(1)), head, mlp, "softmax", False)
    return _paper_pairs(widths, demand, st.integers(1, whole("max_context", max_context, least=1)), entries)


@st.composite
def _paper_pairs(
    draw: DrawFn,
    widths: SearchStrategy[int],
    demand: LayerDemand,
    lengths: SearchStrategy[int],
    entries: SearchStrategy[fmpq],
) -> tuple[Transformer, Dataset]:
    d = draw(widths)
    layer = draw_layer(draw, d, demand)
    x_0 = draw_vector(draw, d, entries)
    contexts = [draw_tokens(draw, d, draw(lengths), entries) for _ in range(2)]
    if contexts[0] == contexts[1]:
        contexts[1][0][0] += 1
    first = draw_vector(draw, d, entries)
    if d > NARROWEST or not any(first):
        second = draw_vector(draw, d, entries)
        if first == second:
            second[0] += 1
    else:  # a multiple, and another one
        factor = draw(entries)
        second = [(0 if factor == 1 else factor) * x for x in first]
    examples = []
    for context, shifted in zip(contexts, (first, second), strict=True):
        y = layer.mlp(column_vector([a + x for a, x in zip(shifted, x_0, strict=True)]))
        assert isinstance(y, RationalMatrix), "an MLP takes rationals to rationals"
        examples.append(Example(of_tokens([*context, x_0], d), y))
    return Transformer((layer,)), Dataset(tuple(examples))
