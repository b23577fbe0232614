"""Heads, MLPs, layers and transformers with exact weights.

Sizes are numbers or strategies for numbers. Whatever is drawn shrinks to fewer layers, heads, rows and hidden units
first, then to weights that are zero or ones on the diagonal, then to small whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flint import fmpq
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from constructions.numbers.matrix import Piece, PiecewiseLinear
from constructions.numbers.rational import RationalLike, RationalMatrix
from constructions.numbers.spectral_norm import within_norm
from constructions.transformer import Attention, AttentionKind, FeedForward, Head, Layer, Transformer
from verify.strategies.arguments import Size, elements_or, exact, invalid, one_of_kinds, sizes, whole
from verify.strategies.matrices import FULL_RANK, SMALL, Demand, draw_all, draw_index, draw_matrix

UnitKind = Literal["relu", "modified"]
Elements = SearchStrategy[RationalLike] | None
WIDTHS = st.integers(1, 3)
UP_TO_TWO = st.integers(1, 2)


# --- heads -----------------------------------------------------------------------------------------------------------


def heads(
    d: Size | None = None,
    *,
    s: Size | None = None,
    elements: Elements = None,
    full_rank: bool = False,
    query_bias: bool = False,
) -> SearchStrategy[Head]:
    """Heads of width ``d`` (1 to 3) and size ``s`` (1 to d): W_q, W_k, W_v s×d, W_o d×s, b_q s×1.

    ``full_rank``: all four weights have rank min(s, d). ``query_bias``: b_q may be different from zero. W_q = 0 (equal
    scores) and W_v = 0 (no output) come up often, unless ranks are full.

    >>> from verify.strategies import smallest
    >>> smallest(heads(2, s=1, full_rank=True)).W_q.rows()
    [[1, 0]]
    """
    return _heads(sizes("d", d, WIDTHS), HeadDemand.of(s, elements, full_rank, query_bias))


@dataclass(frozen=True)
class HeadDemand:
    """What is asked of a head beside its width; sizes None are 1 to the width."""

    sizes: SearchStrategy[int] | None
    entries: SearchStrategy[fmpq]
    rank: Demand
    query_bias: bool

    @classmethod
    def of(cls, s: Size | None, elements: Elements, full_rank: bool, query_bias: bool) -> HeadDemand:
        head_sizes = None if s is None else sizes("s", s, UP_TO_TWO)
        return cls(head_sizes, elements_or(elements, SMALL), FULL_RANK if full_rank else Demand(), query_bias)


@st.composite
def _heads(draw: DrawFn, widths: SearchStrategy[int], demand: HeadDemand) -> Head:
    return draw_head(draw, draw(widths), demand)


def draw_head(draw: DrawFn, d: int, demand: HeadDemand) -> Head:
    """The strategy as a function, as all that are called draw_… here: for strategies that draw many."""
    s = 1 + draw_index(draw, d) if demand.sizes is None else draw(demand.sizes)
    shapes = ((s, d), (s, d), (s, d), (d, s))
    W_q, W_k, W_v, W_o = (draw_matrix(draw, *shape, demand.entries, demand.rank) for shape in shapes)
    b_q = draw_matrix(draw, s, 1, demand.entries) if demand.query_bias else RationalMatrix.zeros(s, 1)
    return Head(W_q, W_k, W_v, W_o, b_q)


# --- MLPs ------------------------------------------------------------------------------------------------------------


def piecewise_linear_units(*, max_pieces: int = 3, elements: Elements = None) -> SearchStrategy[PiecewiseLinear]:
    """Piecewise-linear functions of one real, possibly with jumps, of at most ``max_pieces`` pieces, one of them
    constant: with at most 3 pieces the units of the modified class (THEORY section 0).

    >>> from verify.strategies import smallest
    >>> smallest(piecewise_linear_units(), lambda unit: len(unit.pieces) == 2).pieces[1]
    Piece(start=0, slope=0, intercept=0)
    """
    return _piecewise_linear_units(whole("max_pieces", max_pieces, least=1), elements_or(elements, SMALL))


@st.composite
def _piecewise_linear_units(draw: DrawFn, max_pieces: int, entries: SearchStrategy[fmpq]) -> PiecewiseLinear:
    return draw_unit(draw, max_pieces, entries)


def draw_unit(draw: DrawFn, max_pieces: int, entries: SearchStrategy[fmpq]) -> PiecewiseLinear:
    starts = [None, *sorted({draw(entries) for _ in range(draw(st.integers(0, max_pieces - 1)))})]
    slopes = draw_all(draw, len(starts), entries)
    slopes[draw_index(draw, len(starts))] = fmpq(0)
    return PiecewiseLinear(tuple(map(Piece, starts, slopes, draw_all(draw, len(starts), entries))))


def mlps(
    d: Size | None = None,
    *,
    r: Size | None = None,
    elements: Elements = None,
    max_lipschitz: RationalLike | None = None,
    units: UnitKind = "relu",
) -> SearchStrategy[FeedForward]:
    """MLPs of width ``d`` (1 to 3) with ``r`` (0 to 2) hidden units, the skip connection included.

    ``max_lipschitz``: ‖W_1‖_2 ‖W_2‖_2 is at most this, certified; below 1 the MLP is injective (THEORY section 2).
    ``units``: "relu", or "modified" for :func:`piecewise_linear_units` in their place.

    >>> from verify.strategies import smallest
    >>> smallest(mlps(1, r=1, max_lipschitz="1/2"), lambda mlp: mlp.W_2[0, 0] < 0).W_2.rows()
    [[-1/2]]
    """
    return _mlps(sizes("d", d, WIDTHS), MLPDemand.of(r, elements, max_lipschitz, units))


@dataclass(frozen=True)
class MLPDemand:
    """What is asked of an MLP beside its width."""

    hidden: SearchStrategy[int]
    entries: SearchStrategy[fmpq]
    lipschitz: fmpq | None
    modified: bool

    @classmethod
    def of(cls, r: Size | None, elements: Elements, max_lipschitz: RationalLike | None, units: UnitKind) -> MLPDemand:
        one_of_kinds("units", units, ("relu", "modified"))
        if max_lipschitz is not None and units != "relu":
            raise invalid("units", "'relu' beside max_lipschitz, as other units may jump", units)
        lipschitz = None if max_lipschitz is None else exact("max_lipschitz", max_lipschitz, least=0)
        hidden = sizes("r", r, st.integers(0, 2), least=0)
        return cls(hidden, elements_or(elements, SMALL), lipschitz, units == "modified")


@st.composite
def _mlps(draw: DrawFn, widths: SearchStrategy[int], demand: MLPDemand) -> FeedForward:
    return draw_mlp(draw, draw(widths), demand)


def draw_mlp(draw: DrawFn, d: int, demand: MLPDemand) -> FeedForward:
    r, entries = draw(demand.hidden), demand.entries
    W_1, W_2 = draw_matrix(draw, r, d, entries), draw_matrix(draw, d, r, entries)
    if demand.lipschitz is not None:
        moved = draw(st.integers(1, 3))
        W_1 = within_norm(W_1, fmpq(1)).scaled(moved)
        W_2 = within_norm(W_2, demand.lipschitz).scaled(fmpq(1, moved))
    b_1, b_2 = draw_matrix(draw, r, 1, entries), draw_matrix(draw, d, 1, entries)
    units = tuple(draw_unit(draw, 3, entries) for _ in range(r)) if demand.modified else None
    return FeedForward(W_1, b_1, W_2, b_2, units)


# --- layers and transformers -----------------------------------------------------------------------------------------


def layers(
    d: Size | None = None,
    *,
    h: Size | None = None,
    s: Size | None = None,
    r: Size | None = None,
    attention: AttentionKind = "softmax",
    units: UnitKind = "relu",
    causal: bool = False,
    elements: Elements = None,
    full_rank: bool = False,
    query_bias: bool = False,
    max_lipschitz: RationalLike | None = None,
) -> SearchStrategy[Layer]:
    """Layers of width ``d`` (1 to 3) with ``h`` heads (1 or 2) of size ``s`` (1 to d, each its own) and an MLP of ``r``
    hidden units (0 to 2).

    ``full_rank`` and ``query_bias`` are those of :func:`heads`, ``units`` and ``max_lipschitz`` those of :func:`mlps`.

    >>> from verify.strategies import smallest
    >>> layer = smallest(layers(), lambda layer: layer.mlp.hidden == 1)
    >>> layer.width, len(layer.attention.heads), layer.mlp.W_1.rows()
    (1, 1, [[0]])
    """
    one_of_kinds("attention", attention, ("softmax", "hardmax"))
    head = HeadDemand.of(s, elements, full_rank, query_bias)
    mlp = MLPDemand.of(r, elements, max_lipschitz, units)
    return _layers(sizes("d", d, WIDTHS), LayerDemand(sizes("h", h, UP_TO_TWO), head, mlp, attention, causal))


@dataclass(frozen=True)
class LayerDemand:
    """What is asked of a layer beside its width."""

    counts: SearchStrategy[int]
    head: HeadDemand
    mlp: MLPDemand
    attention: AttentionKind
    causal: bool


@st.composite
def _layers(draw: DrawFn, widths: SearchStrategy[int], demand: LayerDemand) -> Layer:
    return draw_layer(draw, draw(widths), demand)


def draw_layer(draw: DrawFn, d: int, demand: LayerDemand) -> Layer:
    several = tuple(draw_head(draw, d, demand.head) for _ in range(draw(demand.counts)))
    return Layer(Attention(several, demand.attention, demand.causal), draw_mlp(draw, d, demand.mlp))


def transformers(
    h: int = 2,
    s: int = 2,
    r: int = 2,
    *,
    modified: bool = False,
    d: Size | None = None,
    depth: Size | None = None,
    tokens: Size | None = None,
    causal: bool = False,
    query_bias: bool = False,
    elements: Elements = None,
) -> SearchStrategy[Transformer]:
    """Transformers of class T^{h,s,r}, or of the ``modified`` class T̄^{h,s,r} (THEORY section 0): each layer has 1 to h
    heads of sizes 1 to s, and 0 to r hidden units.

    Softmax and ReLU, or hardmax and piecewise-linear units of at most 3 pieces. ``d``: width (1 to 3), ``depth``: 1 or
    2 layers, ``tokens``: where given, a positional embedding for so many tokens. ``query_bias`` adds what the class
    does not have. Outputs of the modified class are rational at rational inputs, those of one softmax layer
    exponential fractions; deeper softmax models need balls.

    >>> from verify.strategies import smallest
    >>> model = smallest(transformers(2, 1, 4, modified=True, depth=2))
    >>> model.class_membership(2, 1, 4, modified=True).holds, model.width, len(model.layers)
    (True, 1, 2)
    """
    for name, value, least in (("h", h, 1), ("s", s, 1), ("r", r, 0)):
        whole(name, value, least=least)
    head = HeadDemand.of(st.integers(1, s), elements, False, query_bias)
    mlp = MLPDemand.of(st.integers(0, r), elements, None, "modified" if modified else "relu")
    layer = LayerDemand(st.integers(1, h), head, mlp, "hardmax" if modified else "softmax", causal)
    lengths = None if tokens is None else sizes("tokens", tokens, UP_TO_TWO)
    return _transformers(sizes("d", d, WIDTHS), sizes("depth", depth, UP_TO_TWO), lengths, layer)


@st.composite
def _transformers(
    draw: DrawFn,
    widths: SearchStrategy[int],
    depths: SearchStrategy[int],
    lengths: SearchStrategy[int] | None,
    layer: LayerDemand,
) -> Transformer:
    d, depth = draw(widths), draw(depths)
    stack = tuple(draw_layer(draw, d, layer) for _ in range(depth))
    return Transformer(stack, None if lengths is None else draw_matrix(draw, d, draw(lengths), layer.head.entries))
