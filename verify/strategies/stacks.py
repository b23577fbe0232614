"""Stacks of contractions: the transformers of THEORY section 7 that keep inputs apart."""

from __future__ import annotations

from flint import fmpq
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from constructions.depth.constants import NORMS, LayerNorms, Norm, Region, Stack
from constructions.depth.contraction import contraction
from constructions.numbers.rational import RationalLike
from constructions.transformer import Layer, Transformer
from verify.strategies.arguments import Size, exact, invalid, one_of_kinds, sizes
from verify.strategies.models import UP_TO_TWO, WIDTHS, Elements, HeadDemand, LayerDemand, MLPDemand, draw_layer

ROOM = 1 - fmpq(1, 2**10)
"""Norms are proved anew after scaling, each to 2^-20."""
UNIT = fmpq(1)


def contractive_stacks(
    d: Size | None = None,
    *,
    depth: Size | None = None,
    norm: Norm = "max",
    max_constant: RationalLike = 1,
    max_product: RationalLike | None = 2,
    prompt_radius: RationalLike = 1,
    input_radius: RationalLike = 1,
    prompt_length: Size | None = None,
    input_length: Size | None = None,
    h: Size | None = None,
    s: Size | None = None,
    r: Size | None = None,
    causal: bool = False,
    elements: Elements = None,
) -> SearchStrategy[Stack]:
    """Softmax transformers with a region on which every layer is the identity plus contractions, certified.

    - Every attention has a joint constant below ``max_constant``, and so has every MLP: with 1 the map of all tokens is
      injective on the region (cf. Wang et al. 2023, Theorem 5).
    - ``max_product`` (above 1; None: no bound): ``Π (1 + a_l)(1 + b_l)`` is below it; with 2 no prompt of the region
      maps two inputs to one output (the repaired condition of THEORY section 7).
    - The region: prompt and input tokens of Euclidean length up to ``prompt_radius`` and ``input_radius`` (at least 0),
      ``prompt_length`` and ``input_length`` of them (1 or 2).

    Weights are drawn as in :func:`layers` and scaled down where they are too large, by short dyadic factors, at the
    radii that the layers meet. ``norm`` is "max" or "frobenius". They shrink to one layer, one head and zero weights.

    >>> from verify.strategies import smallest
    >>> stack = smallest(contractive_stacks(1), lambda stack: stack.layers[0].joint > 0)
    >>> stack.model.layers[0].attention.heads[0].W_v.rows(), stack.failing(), stack.product() < 2
    ([[3/8]], None, True)
    """
    one_of_kinds("norm", norm, NORMS)
    most = exact("max_constant", max_constant, least=0)
    if most == 0:
        raise invalid("max_constant", "a positive number", max_constant)
    product = None if max_product is None else exact("max_product", max_product, least=1)
    if product == 1:
        raise invalid("max_product", "more than 1", max_product)
    radii = exact("prompt_radius", prompt_radius, least=0), exact("input_radius", input_radius, least=0)
    lengths = (
        sizes("prompt_length", prompt_length, UP_TO_TWO, least=0),
        sizes("input_length", input_length, UP_TO_TWO),
    )
    demand = LayerDemand(
        sizes("h", h, UP_TO_TWO),
        HeadDemand.of(s, elements, full_rank=False, query_bias=False),
        MLPDemand.of(r, elements, None, "relu"),
        "softmax",
        causal,
    )
    depths = sizes("depth", depth, st.integers(1, 3))
    return _contractive_stacks(sizes("d", d, WIDTHS), depths, lengths, radii, norm, most, product, demand)


@st.composite
def _contractive_stacks(
    draw: DrawFn,
    widths: SearchStrategy[int],
    depths: SearchStrategy[int],
    lengths: tuple[SearchStrategy[int], SearchStrategy[int]],
    radii: tuple[fmpq, fmpq],
    norm: Norm,
    most: fmpq,
    product: fmpq | None,
    demand: LayerDemand,
) -> Stack:
    d, depth = draw(widths), draw(depths)
    region = here = Region(*radii, draw(lengths[0]), draw(lengths[1]))
    allowed = ROOM * (most if product is None else min(most, equal_share(product, 2 * depth)))
    layers: list[Layer] = []
    for _ in range(depth):
        drawn = draw_layer(draw, d, demand)
        layers.append(contraction(drawn, here, norm, attention=allowed, mlp=allowed, bits=4))
        here = LayerNorms.of(layers[-1]).after(here)
    return Stack.of(Transformer(tuple(layers)), region, norm)


def equal_share(product: fmpq, factors: int) -> fmpq:
    """A constant c, of few bits, with ``(1 + c)^factors ≤ product``, for product > 1.

    >>> equal_share(fmpq(2), 1), equal_share(fmpq(2), 4)
    (1, 3/16)
    """
    unit = UNIT
    while (1 + 2 * unit) ** factors <= product:
        unit *= 2
    while (1 + unit) ** factors > product:
        unit /= 2
    return max(c for c in (unit * (1 + fmpq(k, 8)) for k in range(8)) if (1 + c) ** factors <= product)
