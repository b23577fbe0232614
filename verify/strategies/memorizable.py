"""Datasets with a prompt that memorizes them: the targets are what the model says after that prompt, exactly.

Hardmax outputs are rational. Softmax outputs seldom are: by Lindemann and Weierstrass, the output at a token is
rational exactly if all groups of tokens with one score have one mean value. So the softmax families are

- ``no-query``: W_q = 0, all scores are zero, at any depth;
- ``equal-scores``: the tokens of prompt and contexts differ from the last token x_0 across the logit vectors of all
  heads at x_0 only; for one head with V invertible and q ≠ 0 nothing else is possible;
- ``balanced``: one head with V e = 0 and q·e ≠ 0 for a unit vector e. Prompt, x_0 and the outputs are arbitrary; each
  context gets one more token for every score, which moves the mean of that group to the output;
- ``plateau``: masses and outputs are irrational, in one row; the MLP is constant where they lie.

In all but the last, heads without output (W_v = 0 or W_o = 0) and with arbitrary scores may stand beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from flint import fmpq
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from constructions.data import Dataset, Example
from constructions.numbers.exponential import ExpFraction, midpoint
from constructions.numbers.matrix import Matrix
from constructions.numbers.rational import RationalMatrix, column_vector, dot
from constructions.transformer import Attention, AttentionKind, FeedForward, Head, Layer, Transformer
from verify.strategies.arguments import Size, elements_or, invalid, one_of_kinds, sizes, whole_range
from verify.strategies.matrices import SMALL, draw_index, draw_vector
from verify.strategies.models import (
    UP_TO_TWO,
    WIDTHS,
    Elements,
    HeadDemand,
    LayerDemand,
    MLPDemand,
    draw_head,
    draw_layer,
    draw_mlp,
)
from verify.strategies.tokens import Row, draw_tokens, of_tokens

Family = Literal["no-query", "equal-scores", "balanced", "plateau"]
FAMILIES: tuple[Family, ...] = ("no-query", "equal-scores", "balanced", "plateau")


@dataclass(frozen=True)
class Memorizable:
    """A model, data, and a prompt P with which the model's outputs at the tokens that have targets are the targets.

    ``family`` is None for hardmax."""

    model: Transformer
    data: Dataset
    prompt: RationalMatrix
    family: Family | None = None


def memorizable_datasets(
    d: Size | None = None,
    *,
    attention: AttentionKind = "softmax",
    families: Sequence[Family] = FAMILIES,
    min_examples: int = 1,
    max_examples: int | None = None,
    min_tokens: int = 1,
    max_tokens: int | None = None,
    h: Size | None = None,
    r: Size | None = None,
    depth: Size | None = None,
    causal: bool = False,
    elements: Elements = None,
) -> SearchStrategy[Memorizable]:
    """Models of width ``d`` (1 to 3) with ``min_examples`` (1) to ``max_examples`` (3) inputs, rational targets, and a
    prompt of ``min_tokens`` (1) to ``max_tokens`` (3) tokens that memorizes them.

    ``families``: which kinds of softmax layers (see the module). ``h``: heads with an output (1 or 2; "balanced" and
    "plateau" have one), ``r``: hidden units (0 to 2; "plateau" brings its own). ``depth``: 1 unless it is given, and
    more only for hardmax and "no-query". Targets are those of the last token; for hardmax and "no-query", now and then
    of all tokens. They shrink to one example, one token of the prompt and zeros.

    >>> from verify.strategies import smallest
    >>> case = smallest(memorizable_datasets(2, families=["balanced"]), lambda case: case.prompt[1, 0] > 0)
    >>> case.prompt.column(0), [example.targets.column(0) for example in case.data.examples]
    ([0, 1], [[1, 0]])
    >>> case.model.with_prompt(case.prompt, case.data.examples[0].X).as_rational().columns(1, 2).column(0)
    [1, 0]
    """
    one_of_kinds("attention", attention, ("softmax", "hardmax"))
    if not families or any(family not in FAMILIES for family in families):
        raise invalid("families", f"some of {', '.join(FAMILIES)}", families)
    bounds = [
        whole_range(names, low, max(3, low) if high is None and isinstance(low, int) else high, least=1)
        for names, low, high in (
            (("min_examples", "max_examples"), min_examples, max_examples),
            (("min_tokens", "max_tokens"), min_tokens, max_tokens),
        )
    ]
    layer = LayerDemand(
        sizes("h", h, UP_TO_TWO),
        HeadDemand.of(None, elements, full_rank=False, query_bias=False),
        MLPDemand.of(r, elements, None, "relu"),
        attention,
        causal,
    )
    wanted = Wanted(st.integers(*bounds[0]), st.integers(*bounds[1]), layer, elements_or(elements, SMALL))
    depths = sizes("depth", depth, st.just(1))
    return _memorizable_datasets(sizes("d", d, WIDTHS), depths, tuple(families), wanted)


@dataclass(frozen=True)
class Wanted:
    """What all families share."""

    examples: SearchStrategy[int]
    tokens: SearchStrategy[int]
    layer: LayerDemand
    entries: SearchStrategy[fmpq]

    @property
    def causal(self) -> bool:
        return self.layer.causal


@st.composite
def _memorizable_datasets(
    draw: DrawFn,
    widths: SearchStrategy[int],
    depths: SearchStrategy[int],
    families: tuple[Family, ...],
    wanted: Wanted,
) -> Memorizable:
    d, depth = draw(widths), draw(depths)
    if wanted.layer.attention == "hardmax":
        layers = tuple(draw_layer(draw, d, wanted.layer) for _ in range(depth))
        return _answered(draw, Transformer(layers), wanted, None)
    possible = [
        family for family in families if (d > 1 or family != "balanced") and (depth == 1 or family == "no-query")
    ]
    if not possible:
        raise invalid("families", f"one that exists at width {d} and depth {depth}", families)
    family = draw(st.sampled_from(possible))
    if family == "no-query":
        return _no_query(draw, d, depth, wanted)
    return {"equal-scores": _equal_scores, "balanced": _balanced, "plateau": _plateau}[family](draw, d, wanted)


# --- any inputs ------------------------------------------------------------------------------------------------------


def _no_query(draw: DrawFn, d: int, depth: int, wanted: Wanted) -> Memorizable:
    """Equal scores, so softmax is hardmax; the targets are computed with the latter."""
    layers = []
    for _ in range(depth):
        layer = draw_layer(draw, d, wanted.layer)
        heads = tuple(replace(head, W_q=RationalMatrix.zeros(*head.W_q.shape)) for head in layer.attention.heads)
        layers.append(Layer(replace(layer.attention, heads=heads), layer.mlp))
    uniform = [Layer(replace(layer.attention, kind="hardmax"), layer.mlp) for layer in layers]
    case = _answered(draw, Transformer(tuple(uniform)), wanted, "no-query")
    if depth == 1:
        layers = [_with_silent(draw, layers[0], wanted)]
    return replace(case, model=Transformer(tuple(layers)))


def _answered(draw: DrawFn, model: Transformer, wanted: Wanted, family: Family | None) -> Memorizable:
    """Arbitrary prompts and inputs, where outputs are rational whatever they are."""
    d = model.width
    P = of_tokens(draw_tokens(draw, d, draw(wanted.tokens), wanted.entries), d)
    examples = []
    for _ in range(draw(wanted.examples)):
        m = draw(st.integers(1, 3))
        X = of_tokens(draw_tokens(draw, d, m, wanted.entries), d)
        outputs = _rational(model.with_prompt(P, X))
        examples.append(Example(X, outputs if draw(st.integers(0, 3)) == 3 else outputs.columns(m - 1, m)))
    return Memorizable(model, Dataset(tuple(examples)), P, family)


def _rational(values: Matrix) -> RationalMatrix:
    assert isinstance(values, RationalMatrix), "hardmax and MLPs take rationals to rationals"
    return values


def _with_silent(draw: DrawFn, layer: Layer, wanted: Wanted) -> Layer:
    """Now and then with a head that has scores and no output."""
    found = draw(st.lists(_silent_heads(layer.width, wanted.layer.head), max_size=1))
    return Layer(replace(layer.attention, heads=(*layer.attention.heads, *found)), layer.mlp)


@st.composite
def _silent_heads(draw: DrawFn, d: int, demand: HeadDemand) -> Head:
    head = draw_head(draw, d, demand)
    if draw(st.booleans()):
        return replace(head, W_v=RationalMatrix.zeros(*head.W_v.shape))
    return replace(head, W_o=RationalMatrix.zeros(*head.W_o.shape))


# --- one last token --------------------------------------------------------------------------------------------------


def _equal_scores(draw: DrawFn, d: int, wanted: Wanted) -> Memorizable:
    heads = tuple(draw_head(draw, d, wanted.layer.head) for _ in range(draw(wanted.layer.counts)))
    x_0 = draw_vector(draw, d, wanted.entries)
    across = RationalMatrix.of([head.logit_vectors(column_vector(x_0)).column(0) for head in heads]).nullspace()

    def tokens(n: int) -> RationalMatrix:
        moves = draw_tokens(draw, len(across), n, wanted.entries)
        return of_tokens([_sum([x_0, *(_times(c, e) for c, e in zip(move, across, strict=True))]) for move in moves], d)

    P = tokens(draw(wanted.tokens))
    inputs = [tokens(draw(st.integers(0, 2))).hstack(column_vector(x_0)) for _ in range(draw(wanted.examples))]
    mlp = draw_mlp(draw, d, wanted.layer.mlp)
    uniform = Layer(Attention(heads, "hardmax", wanted.causal), mlp)
    examples = [Example(X, _rational(uniform.output(P.hstack(X), P.shape[1] + X.shape[1] - 1))) for X in inputs]
    layer = _with_silent(draw, Layer(Attention(heads, causal=wanted.causal), mlp), wanted)
    return Memorizable(Transformer((layer,)), Dataset(tuple(examples)), P, "equal-scores")


def _balanced(draw: DrawFn, d: int, wanted: Wanted) -> Memorizable:
    head, x_0, e = _unseen_direction(draw, d, wanted)
    q = head.logit_vectors(column_vector(x_0)).column(0)
    prompt = draw_tokens(draw, d, draw(wanted.tokens), wanted.entries)
    mlp = draw_mlp(draw, d, wanted.layer.mlp)
    examples = []
    for _ in range(draw(wanted.examples)):
        free = draw_tokens(draw, d, draw(st.integers(0, 1)), wanted.entries)
        mean = draw_vector(draw, d, wanted.entries)
        groups: dict[fmpq, list[Row]] = {}
        for z in [*prompt, *free, x_0]:
            groups.setdefault(dot(q, z), []).append(z)
        added = []
        for score, members in groups.items():
            z = _sum([_times(fmpq(len(members) + 1), mean), *(_times(fmpq(-1), member) for member in members)])
            z[e] += (score - dot(q, z)) / q[e]
            added.append(z)
        z = _sum([x_0, head.V.apply(mean)])
        examples.append(Example(of_tokens([*free, *added, x_0], d), _rational(mlp(column_vector(z)))))
    layer = _with_silent(draw, Layer(Attention((head,), causal=wanted.causal), mlp), wanted)
    return Memorizable(Transformer((layer,)), Dataset(tuple(examples)), of_tokens(prompt, d), "balanced")


def _unseen_direction(draw: DrawFn, d: int, wanted: Wanted) -> tuple[Head, Row, int]:
    """A head, a token x_0 and an index e with V e = 0 and q·e ≠ 0."""
    head, x_0, e = (
        draw_head(draw, d, wanted.layer.head),
        draw_vector(draw, d, wanted.entries),
        draw_index(draw, d),
    )
    W_q, W_k, W_v = head.W_q.rows(), head.W_k.rows(), head.W_v.rows()
    for row in W_v:
        row[e] = fmpq(0)
    if all(x == 0 for x in x_0):
        x_0[0] = fmpq(1)
    if all(dot(row, x_0) == 0 for row in W_q):
        W_q[0][next(i for i, x in enumerate(x_0) if x != 0)] += 1
    query = [dot(row, x_0) for row in W_q]
    if dot([row[e] for row in W_k], query) == 0:
        W_k[next(i for i, x in enumerate(query) if x != 0)][e] += 1
    return Head(RationalMatrix.of(W_q), RationalMatrix.of(W_k), RationalMatrix.of(W_v), head.W_o), x_0, e


def _plateau(draw: DrawFn, d: int, wanted: Wanted) -> Memorizable:
    """Outputs in one row; there the MLP is constant between whole numbers around them."""
    head, row = draw_head(draw, d, wanted.layer.head), draw_index(draw, d)
    W_o = [values if i == row else [fmpq(0)] * len(values) for i, values in enumerate(head.W_o.rows())]
    attention = Attention((replace(head, W_o=RationalMatrix.of(W_o)),), causal=wanted.causal)
    P = of_tokens(draw_tokens(draw, d, draw(wanted.tokens), wanted.entries), d)
    inputs, floors = [], []
    for _ in range(draw(wanted.examples)):
        X = of_tokens(draw_tokens(draw, d, draw(st.integers(1, 2)), wanted.entries), d)
        inputs.append(X)
        before = Layer(attention, FeedForward.none(d)).output(P.hstack(X), P.shape[1] + X.shape[1] - 1)
        floors.append(floor(before[row, 0]))
    # z − ReLU(z − n) + ReLU(z − n − 1) is n on [n, n + 1]
    steps = [(fmpq(n + up), sign) for n in sorted(set(floors)) for up, sign in ((0, -1), (1, 1))]
    W_1 = RationalMatrix.of([[int(i == row) for i in range(d)]] * len(steps))
    W_2 = RationalMatrix.of([[sign if i == row else 0 for _, sign in steps] for i in range(d)])
    b_2 = column_vector(draw_vector(draw, d, wanted.entries))
    mlp = FeedForward(W_1, column_vector([-t for t, _ in steps]), W_2, b_2)
    examples = []
    for X, n in zip(inputs, floors, strict=True):
        z = X.column(X.shape[1] - 1)
        z[row] = fmpq(n)
        examples.append(Example(X, _rational(mlp(column_vector(z)))))
    return Memorizable(Transformer((Layer(attention, mlp),)), Dataset(tuple(examples)), P, "plateau")


def floor(value: fmpq | ExpFraction) -> int:
    """The largest whole number that is at most ``value``, exactly."""
    if isinstance(value, ExpFraction):
        guess = int(midpoint(value.enclosure()).floor())
        while value < guess:
            guess -= 1
        while not value < guess + 1:
            guess += 1
        return guess
    return int(value.floor())


def _sum(rows: Sequence[Row]) -> Row:
    return [sum(values, fmpq(0)) for values in zip(*rows, strict=True)]


def _times(c: fmpq, row: Row) -> Row:
    return [c * x for x in row]
