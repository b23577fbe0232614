"""The transformer against formulas written out token by token, and its own two ways of evaluating a layer.

The oracle is the model of THEORY section 0 in plain Python, over any numbers with + and *: fractions for hardmax (equal
exactly), mpmath at 60 digits for softmax. Scores stay below 10^7 in size and each output is the result of a few hundred
operations, so mpmath's values are right to 10^-45 of the largest number involved (below 10^5); 10^-35 is allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import flint
import mpmath
import pytest
from flint import arb, arb_mat, fmpq
from hypothesis import assume, example, given
from hypothesis import strategies as st

from constructions.data import Dataset, Example
from constructions.numbers.balls import BallMatrix
from constructions.numbers.exponential import ExpFraction
from constructions.numbers.exponential_matrix import ExpMatrix
from constructions.numbers.matrix import FieldError, Matrix, Piece, PiecewiseLinear
from constructions.numbers.rational import RationalMatrix, column_vector, vector
from constructions.transformer import Attention, AttentionKind, FeedForward, Head, Layer, Transformer

Rows = list[list[Fraction]]
R = RationalMatrix.of
TOLERANCE = fmpq(1, 10**35)

ENTRIES = st.sampled_from([Fraction(x) for x in ("0", "0", "1", "-1", "1/2", "-2/3", "2")])


# The oracle


@dataclass(frozen=True)
class PlainLayer:
    """The numbers of a layer; a head is (W_q, W_k, W_v, W_o, b_q), a unit a list of (start, slope, intercept)."""

    heads: list[tuple[Rows, Rows, Rows, Rows, list[Fraction]]]
    W_1: Rows
    b_1: list[Fraction]
    W_2: Rows
    b_2: list[Fraction]
    units: list[list[tuple[Fraction | None, Fraction, Fraction]]] | None
    kind: AttentionKind
    causal: bool

    @property
    def d(self) -> int:
        return len(self.b_2)


def apply(W: Any, x: list[Any], zero: Any) -> list[Any]:
    return [sum((w * v for w, v in zip(row, x, strict=True)), zero) for row in W]


def add(*vectors: list[Any]) -> list[Any]:
    return [sum(entries[1:], entries[0]) for entries in zip(*vectors, strict=True)]


def hard(scores: list[Fraction]) -> list[Fraction]:
    best = max(scores)
    return [Fraction(score == best, scores.count(best)) for score in scores]


def soft(scores: list[Any]) -> list[Any]:
    powers = [mpmath.exp(score) for score in scores]
    return [power / mpmath.fsum(powers) for power in powers]


def evaluate(layer: PlainLayer, tokens: list[list[Any]], number: Callable[[Fraction], Any]) -> list[list[Any]]:
    """layer(Z) = MLP(Att(Z, Z) + Z), one token (a list of d numbers) after the other."""
    zero = number(Fraction(0))

    def cast(rows: Rows) -> list[list[Any]]:
        return [[number(x) for x in row] for row in rows]

    def row(values: list[Fraction]) -> list[Any]:
        return [number(x) for x in values]

    def sigma(i: int, t: Any) -> Any:
        if layer.units is None:
            return max(t, zero)
        started = [piece for piece in layer.units[i] if piece[0] is None or t >= number(piece[0])]
        _, slope, intercept = started[-1]
        return number(slope) * t + number(intercept)

    outputs = []
    for position, x in enumerate(tokens):
        seen = tokens[: position + 1] if layer.causal else tokens
        z = x
        for W_q, W_k, W_v, W_o, b_q in layer.heads:
            query = add(apply(cast(W_q), x, zero), row(b_q))
            keys = [apply(cast(W_k), token, zero) for token in seen]
            scores = [sum((k * q for k, q in zip(key, query, strict=True)), zero) for key in keys]
            weights = soft(scores) if layer.kind == "softmax" else hard(scores)
            values = [apply(cast(W_o), apply(cast(W_v), token, zero), zero) for token in seen]
            z = add(z, *[[w * v for v in value] for w, value in zip(weights, values, strict=True)])
        hidden = [sigma(i, t) for i, t in enumerate(add(apply(cast(layer.W_1), z, zero), row(layer.b_1)))]
        outputs.append(add(apply(cast(layer.W_2), hidden, zero), row(layer.b_2), z))
    return outputs


def built(plain: PlainLayer) -> Layer:
    d, r = plain.d, len(plain.b_1)
    heads = tuple(Head(R(W_q), R(W_k), R(W_v), R(W_o), column_vector(b_q)) for W_q, W_k, W_v, W_o, b_q in plain.heads)
    units = None
    if plain.units is not None:
        units = tuple(
            PiecewiseLinear(tuple(Piece(None if s is None else vector([s])[0], *vector([a, b])) for s, a, b in unit))
            for unit in plain.units
        )
    mlp = FeedForward(
        R(plain.W_1, columns=d), column_vector(plain.b_1), R(plain.W_2, columns=r), column_vector(plain.b_2), units
    )
    return Layer(Attention(heads, plain.kind, plain.causal), mlp)


def oracle(layers: list[PlainLayer], Z: Rows, number: Callable[[Fraction], Any]) -> list[list[Any]]:
    """Rows of the output, like Z."""
    tokens: list[list[Any]] = [[number(x) for x in column] for column in zip(*Z, strict=True)]
    for layer in layers:
        tokens = evaluate(layer, tokens, number)
    return [list(row) for row in zip(*tokens, strict=True)]


def to_mp(x: Fraction) -> mpmath.mpf:
    return mpmath.mpf(x.numerator) / x.denominator


def from_mp(x: mpmath.mpf) -> fmpq:
    p, q = mpmath.libmp.to_rational(x._mpf_)
    return fmpq(int(p), int(q))


def known(exact: Matrix) -> BallMatrix:
    """The sharpest balls of an exact matrix: rational entries through their rational value."""
    rows, width = exact.shape
    balls = arb_mat(rows, width)
    for i in range(rows):
        for j in range(width):
            x = exact[i, j]
            value = x.as_rational() if isinstance(x, ExpFraction) else x
            balls[i, j] = x.enclosure() if value is None else arb(value)
    return BallMatrix(balls)


# Models

KINDS: list[AttentionKind] = ["softmax", "hardmax"]


@st.composite
def tables(draw: st.DrawFn, rows: int, width: int) -> Rows:
    return draw(st.lists(st.lists(ENTRIES, min_size=width, max_size=width), min_size=rows, max_size=rows))


@st.composite
def plain_layers(draw: st.DrawFn, d: int, kind: AttentionKind, causal: bool, *, relu_only: bool = False) -> PlainLayer:
    heads = []
    for _ in range(draw(st.integers(1, 2))):
        s = draw(st.integers(1, 2))
        shapes = [(s, d), (s, d), (s, d), (d, s), (1, s)]
        W_q, W_k, W_v, W_o, b_q = (draw(tables(*shape)) for shape in shapes)
        heads.append((W_q, W_k, W_v, W_o, b_q[0]))
    r = draw(st.integers(0, 2))
    units = None
    if r and not relu_only and draw(st.booleans()):
        units = []
        for _ in range(r):
            starts = [None, *sorted(draw(st.sets(ENTRIES, max_size=2)))]
            units.append([(start, draw(ENTRIES), draw(ENTRIES)) for start in starts])
    W_1, W_2 = draw(tables(r, d)), draw(tables(d, r))
    b_1, b_2 = draw(tables(1, r))[0], draw(tables(1, d))[0]
    return PlainLayer(heads, W_1, b_1, W_2, b_2, units, kind, causal)


@st.composite
def cases(
    draw: st.DrawFn, *, kind: AttentionKind, depth: int, relu_only: bool = False
) -> tuple[list[PlainLayer], Rows]:
    """Layers of one width, and an input of 1 to 4 tokens, some of them equal."""
    d, causal = draw(st.integers(1, 2 if kind == "softmax" else 3)), draw(st.booleans())
    layers = [draw(plain_layers(d, kind, causal, relu_only=relu_only)) for _ in range(depth)]
    tokens = draw(st.lists(st.lists(ENTRIES, min_size=d, max_size=d), min_size=1, max_size=4))
    return layers, [list(row) for row in zip(*tokens, strict=True)]


def model(layers: list[PlainLayer], E: Rows | None = None) -> Transformer:
    return Transformer(tuple(built(layer) for layer in layers), None if E is None else R(E))


ZERO, ONE = [[Fraction(0)]], [[Fraction(1)]]
NO_BIAS = [Fraction(0)]


def scalar_layer(kind: AttentionKind, *, causal: bool = False, W_q: Rows = ONE, W_v: Rows = ONE) -> PlainLayer:
    return PlainLayer([(W_q, ONE, W_v, ONE, NO_BIAS)], [], [], [[]], NO_BIAS, None, kind, causal)


def scalars(*values: str) -> Rows:
    return [[Fraction(x) for x in values]]


@given(st.integers(1, 2).flatmap(lambda depth: cases(kind="hardmax", depth=depth)))
@example(([scalar_layer("hardmax")], scalars("2")))  # one token
@example(([scalar_layer("hardmax")], scalars("2", "2", "2")))  # all tie
@example(([scalar_layer("hardmax", causal=True)], scalars("1", "2", "2", "1")))
@example(([scalar_layer("hardmax", W_q=ZERO)], scalars("1", "2", "-3")))  # equal scores
@example(([scalar_layer("hardmax", W_v=ZERO)], scalars("1", "2")))
@example(([scalar_layer("hardmax")] * 2, scalars("1", "-1", "0")))
def test_hardmax_networks_equal_the_formulas_exactly(case: tuple[list[PlainLayer], Rows]) -> None:
    layers, Z = case
    output = model(layers)(R(Z))
    assert isinstance(output, RationalMatrix)
    assert output == R(oracle(layers, Z, Fraction))


@given(cases(kind="softmax", depth=1, relu_only=True))
@example(([scalar_layer("softmax")], scalars("2")))
@example(([scalar_layer("softmax")], scalars("2", "2", "2")))
@example(([scalar_layer("softmax", causal=True)], scalars("1", "2", "2", "1")))
@example(([scalar_layer("softmax", W_q=ZERO)], scalars("1", "2", "-3")))
@example(([scalar_layer("softmax", W_v=ZERO)], scalars("1", "2")))
def test_softmax_layers_agree_with_the_formulas(case: tuple[list[PlainLayer], Rows]) -> None:
    layers, Z = case
    with mpmath.workdps(60):
        expected = [[from_mp(x) for x in row] for row in oracle(layers, Z, to_mp)]
    exact = model(layers)(R(Z))
    with flint.ctx.workprec(400):
        balls = model(layers)(BallMatrix.embed(R(Z)))
        for i, row in enumerate(expected):
            for j, x in enumerate(row):
                value = exact[i, j] if isinstance(exact, RationalMatrix) else exact[i, j].enclosure()
                for ball in (arb(value), balls[i, j]):
                    assert abs(ball - arb(x)) < arb(TOLERANCE)
        assert isinstance(balls, BallMatrix)
        assert balls.contains(exact)
    with flint.ctx.workprec(80):  # the exact value, known far better, lies inside of coarser balls
        coarse = model(layers)(BallMatrix.embed(R(Z)))
    with flint.ctx.workprec(400):
        truth = known(exact)
        assert all(coarse[i, j].contains(truth[i, j]) for i in range(len(Z)) for j in range(len(Z[0])))


@given(cases(kind="softmax", depth=2, relu_only=True))
@example(([scalar_layer("softmax")] * 2, scalars("1", "1/2", "-1")))
def test_deep_softmax_networks_in_balls_agree_with_the_formulas(case: tuple[list[PlainLayer], Rows]) -> None:
    layers, Z = case
    with mpmath.workdps(60):
        expected = [[from_mp(x) for x in row] for row in oracle(layers, Z, to_mp)]
    with flint.ctx.workprec(400):
        balls = model(layers)(BallMatrix.embed(R(Z)))
        for i, row in enumerate(expected):
            for j, x in enumerate(row):
                assert abs(balls[i, j] - arb(x)) < arb(TOLERANCE) * (1 + abs(arb(x)))
    with flint.ctx.workprec(100):
        coarse = model(layers)(BallMatrix.embed(R(Z)))
    assert all(coarse[i, j].contains(balls[i, j]) for i in range(len(Z)) for j in range(len(Z[0])))


@given(cases(kind="softmax", depth=1))
def test_softmax_with_discontinuous_units_stays_exact(case: tuple[list[PlainLayer], Rows]) -> None:
    # the units see what the layer without them computes: compared exactly, jumps included
    (layer,), Z = case
    assume(layer.units is not None)
    assert layer.units is not None
    d, r = layer.d, len(layer.units)
    before = Layer(built(layer).attention, FeedForward.none(d))(R(Z))
    pre_activations = R(layer.W_1) @ before + R([[b] * len(Z[0]) for b in layer.b_1])
    expected = before + R([[b] * len(Z[0]) for b in layer.b_2])
    if isinstance(pre_activations, RationalMatrix):
        pre_activations = ExpMatrix.embed(pre_activations)
    rows = []
    for i in range(r):
        row = []
        for j in range(len(Z[0])):
            t = pre_activations[i, j]
            _, slope, intercept = next(p for p in reversed(layer.units[i]) if p[0] is None or not t < vector([p[0]])[0])
            row.append(t * vector([slope])[0] + vector([intercept])[0])
        rows.append(row)
    assert built(layer)(R(Z)) == R(layer.W_2) @ ExpMatrix(rows, len(Z[0])) + expected


def test_depth_two_leaves_the_exponential_field() -> None:
    deep = model([scalar_layer("softmax")] * 2)
    with pytest.raises(FieldError, match="balls"):
        deep(R([[1, 2]]))
    assert deep(R([[1]])) == R([[4]])  # one token: every weight is 1, all rational
    hard_then_soft = model([scalar_layer("hardmax"), scalar_layer("softmax")])
    assert isinstance(hard_then_soft(R([[1, 2]])), ExpMatrix)
    soft_then_hard = model([scalar_layer("softmax"), scalar_layer("hardmax")])
    assert isinstance(soft_then_hard(R([[1, 2]])), ExpMatrix)  # decided over the exponentials


# One layer, two ways

ANY_LAYER = st.sampled_from(KINDS).flatmap(lambda kind: cases(kind=kind, depth=1))


@given(ANY_LAYER)
@example(([scalar_layer("hardmax", causal=True)], scalars("1", "1", "2")))
@example(([scalar_layer("softmax", causal=True)], scalars("1", "1", "2")))
@example(([scalar_layer("softmax")], scalars("1")))
def test_one_column_is_that_column_of_all(case: tuple[list[PlainLayer], Rows]) -> None:
    (plain,), Z = case
    layer = built(plain)
    everything = layer(R(Z))
    for j in range(len(Z[0])):
        alone = layer.output(R(Z), j)
        assert alone.shape == (len(Z), 1)
        assert alone == everything.columns(j, j + 1)
    for j in (-1, len(Z[0])):
        with pytest.raises(ValueError, match="columns: expected a range within"):
            layer.output(R(Z), j)
    with flint.ctx.workprec(300):
        if plain.units is None and plain.kind == "softmax":
            balls = BallMatrix.embed(R(Z))
            for j in range(len(Z[0])):
                ball = layer.output(balls, j)
                assert isinstance(ball, BallMatrix)
                assert ball.contains(everything.columns(j, j + 1))


@given(ANY_LAYER, st.randoms(use_true_random=False))
def test_tokens_have_no_order_without_mask_and_embedding(case: tuple[list[PlainLayer], Rows], random: Any) -> None:
    (plain,), Z = case
    layer = built(replace(plain, causal=False))
    order = list(range(len(Z[0])))
    random.shuffle(order)
    before, after = layer(R(Z)), layer(R([[row[j] for j in order] for row in Z]))
    for position, j in enumerate(order):
        assert after.columns(position, position + 1) == before.columns(j, j + 1)


@given(ANY_LAYER)
def test_causal_tokens_do_not_see_the_future(case: tuple[list[PlainLayer], Rows]) -> None:
    (plain,), Z = case
    layer = built(replace(plain, causal=True))
    everything = layer(R(Z))
    for m in range(1, len(Z[0]) + 1):
        assert layer(R([row[:m] for row in Z])) == everything.columns(0, m)
    last = len(Z[0]) - 1
    assert built(replace(plain, causal=False)).output(R(Z), last) == layer.output(R(Z), last)


@given(ANY_LAYER)
def test_heads_add_up(case: tuple[list[PlainLayer], Rows]) -> None:
    (plain,), Z = case
    attention = built(plain).attention
    single = [Attention((head,), plain.kind, plain.causal)(R(Z), R(Z)) for head in attention.heads]
    total = single[0]
    for other in single[1:]:
        total = total + other
    assert attention(R(Z), R(Z)) == total
    doubled = Attention(attention.heads * 2, plain.kind, plain.causal)(R(Z), R(Z))
    assert doubled == total + total


@given(cases(kind="softmax", depth=1), st.integers(1, 3))
def test_repeated_tokens_change_nothing_for_one_distinct_token(case: tuple[list[PlainLayer], Rows], n: int) -> None:
    (plain,), Z = case
    x = [row[0] for row in Z]
    layer = built(plain)
    alone = layer(column_vector(x))
    many = layer(R([[v] * n for v in x]))
    for j in range(n):
        assert many.columns(j, j + 1) == alone
    expected = column_vector(x)
    for head in layer.attention.heads:
        expected = RationalMatrix(expected.mat + head.V.times(column_vector(x)).mat)
    assert layer.mlp(expected) == alone


# Prompt and embedding


@given(ANY_LAYER, st.data())
def test_embedding_and_prompt(case: tuple[list[PlainLayer], Rows], data: st.DataObject) -> None:
    layers, Z = case
    d, M = len(Z), len(Z[0])
    E = data.draw(tables(d, M))
    with_E, without = model(layers, E), model(layers)
    assert with_E(R(Z)) == without(R(Z) + R(E))
    for m_p in range(M):
        P, X = R(Z).columns(0, m_p), R(Z).columns(m_p, M)
        for network in (with_E, without):
            assert network.with_prompt(P, X) == network(R(Z)).columns(m_p, M)
    assert with_E(ExpMatrix.embed(R(Z))) == with_E(R(Z))


def test_embedding_fixes_the_number_of_tokens() -> None:
    network = model([scalar_layer("hardmax")], scalars("1", "2"))
    with pytest.raises(ValueError, match="E is 1×2 and fixes the number of tokens, found 1×3"):
        network(R([[1, 2, 3]]))
    with pytest.raises(ValueError, match="E is 1×2 and fixes the number of tokens, found 1×3"):
        network.with_prompt(R([[1]]), R([[2, 3]]))


def test_prompt_of_another_width() -> None:
    with pytest.raises(ValueError, match="left has 2 rows, right has 1"):
        model([scalar_layer("hardmax")]).with_prompt(R([[1], [2]]), R([[1]]))
    with pytest.raises(ValueError, match="left has 1 columns, right has 2 rows"):
        model([scalar_layer("hardmax")])(R([[1], [2]]))


# Heads


@given(cases(kind="softmax", depth=1))
def test_logit_vectors_give_the_scores(case: tuple[list[PlainLayer], Rows]) -> None:
    (plain,), Z = case
    for head, (W_q, W_k, W_v, W_o, b_q) in zip(built(plain).attention.heads, plain.heads, strict=True):
        logits = head.logit_vectors(R(Z))
        assert logits.shape == (len(Z), len(Z[0]))
        tokens = [list(column) for column in zip(*Z, strict=True)]
        for j, x in enumerate(tokens):
            query = add(apply(W_q, x, Fraction(0)), b_q)
            for z in tokens:
                key = apply(W_k, z, Fraction(0))
                score = sum((a * b for a, b in zip(key, query, strict=True)), Fraction(0))
                assert column_vector(z).T @ logits.columns(j, j + 1) == R([[score]])
        unit = R(Z).columns(0, 1)
        assert head.V @ unit == R(W_o) @ (R(W_v) @ unit)
        assert head.bilinear @ unit == R(W_k).T @ (R(W_q) @ unit)
        assert (head.head_size, head.width) == (len(W_q), len(Z))


def test_defaults_are_identity_and_zero() -> None:
    W = R([[1, 2], [3, 4]])
    assert Head(W, W, W) == Head(W, W, W, RationalMatrix.identity(2), RationalMatrix.zeros(2, 1))
    none = FeedForward.none(2)
    assert (none.hidden, none.width) == (0, 2)
    assert none(W) == W
    assert none(ExpMatrix.embed(W)) == W
    assert FeedForward(none.W_1, none.b_1, none.W_2, none.b_2, ()) == none  # no units, whatever their kind


# Shapes


def zeros(rows: int, columns: int) -> RationalMatrix:
    return RationalMatrix.zeros(rows, columns)


def head(s: int, d: int) -> Head:
    return Head(zeros(s, d), zeros(s, d), zeros(s, d), zeros(d, s))


W23, I1 = zeros(2, 3), R([[1]])
STEP = PiecewiseLinear((Piece(None, fmpq(0), fmpq(0)), Piece(fmpq(0), fmpq(1), fmpq(0))))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Head(zeros(0, 3), W23, W23), "W_q: expected at least one row and one column, found 0×3"),
        (lambda: Head(zeros(2, 0), W23, W23), "W_q: expected at least one row and one column, found 2×0"),
        (lambda: Head(W23, zeros(3, 3), W23), "W_k (W_q is 2×3): expected 2×3, found 3×3"),
        (lambda: Head(W23, W23, zeros(2, 2)), "W_v (W_q is 2×3): expected 2×3, found 2×2"),
        (
            lambda: Head(W23, W23, W23),
            "W_o: missing stands for the identity, expected head size = width, found 2 and 3",
        ),
        (lambda: Head(W23, W23, W23, W23), "W_o (W_q is 2×3): expected 3×2, found 2×3"),
        (lambda: Head(W23, W23, W23, W23.T, zeros(3, 1)), "b_q (W_q is 2×3): expected 2×1, found 3×1"),
        (lambda: Head(W23, W23, W23, W23.T, zeros(1, 2)), "b_q (W_q is 2×3): expected 2×1, found 1×2"),
        (lambda: Attention(()), "heads: expected at least one head, found none"),
        (lambda: Attention((head(1, 2), head(1, 3))), "head 1: expected width 2 as in head 0, found 3"),
        (lambda: Attention((head(1, 2),), kind="max"), "attention: expected softmax or hardmax, found 'max'"),
        (lambda: FeedForward(W23, zeros(3, 1), W23.T, zeros(3, 1)), "b_1 (W_1 is 2×3): expected 2×1, found 3×1"),
        (lambda: FeedForward(W23, zeros(2, 1), W23, zeros(3, 1)), "W_2 (W_1 is 2×3): expected 3×2, found 2×3"),
        (lambda: FeedForward(W23, zeros(2, 1), W23.T, zeros(2, 1)), "b_2 (W_1 is 2×3): expected 3×1, found 2×1"),
        (
            lambda: FeedForward(W23, zeros(2, 1), W23.T, zeros(3, 1), (STEP,)),
            "units: expected one for each of the 2 hidden units, found 1",
        ),
        (
            lambda: FeedForward(zeros(0, 3), zeros(0, 1), zeros(3, 0), zeros(3, 1), (STEP,)),
            "units: expected one for each of the 0 hidden units, found 1",
        ),
        (
            lambda: Layer(Attention((head(1, 2),)), FeedForward.none(3)),
            "layer: attention has width 2, MLP has width 3",
        ),
        (lambda: Transformer(()), "layers: expected at least one layer, found none"),
        (
            lambda: Transformer(tuple(Layer(Attention((head(1, d),)), FeedForward.none(d)) for d in (2, 2, 3))),
            "layer 2: expected width 2 as in layer 0, found 3",
        ),
        (
            lambda: Transformer(
                tuple(Layer(Attention((head(1, 2),), causal=c), FeedForward.none(2)) for c in (True, False))
            ),
            "layer 1: expected causal=True as in layer 0, found False",
        ),
        (
            lambda: Transformer((Layer(Attention((head(1, 2),)), FeedForward.none(2)),), zeros(3, 4)),
            "E: expected 2 rows (the width of the layers), found 3",
        ),
    ],
)
def test_shape_errors_name_both_shapes(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        build()
    assert str(error.value) == message


# Classes T^{h,s,r} and T̄^{h,s,r}


def unit(count: int, constants: int) -> PiecewiseLinear:
    starts = [None, *map(fmpq, range(count - 1))]
    return PiecewiseLinear(tuple(Piece(s, fmpq(int(i >= constants)), fmpq(0)) for i, s in enumerate(starts)))


def small(kind: AttentionKind = "softmax", units: tuple[PiecewiseLinear, ...] | None = None) -> Layer:
    mlp = FeedForward(zeros(2, 3), zeros(2, 1), zeros(3, 2), zeros(3, 1), units)
    return Layer(Attention((head(2, 3), head(1, 3)), kind), mlp)


BIASED = Head(W23, W23, W23, W23.T, R([[0], ["1/5"]]))


@pytest.mark.parametrize("depth", [1, 3])
def test_class_membership(depth: int) -> None:
    network = Transformer((small(),) * depth, zeros(3, 7))
    for bounds in [(2, 2, 2), (5, 2, 2), (2, 3, 9)]:
        fact = network.class_membership(*bounds)
        assert (fact.holds, fact.witness) == (True, f"all {depth} layers")
        assert fact.name == f"class T^{{{bounds[0]},{bounds[1]},{bounds[2]}}}"
    for three_pieces in ((unit(3, 1), unit(1, 1)), None):
        modified = Transformer((small("hardmax", three_pieces),) * depth)
        fact = modified.class_membership(2, 2, 2, modified=True)
        assert (fact.holds, fact.name) == (True, "class T̄^{2,2,2}")


@pytest.mark.parametrize(
    ("layer", "bounds", "modified", "witness"),
    [
        (small(), (1, 2, 2), False, "expected at most 1 heads, found 2"),
        (small(), (2, 1, 2), False, "head 0: expected size at most 1, found 2"),
        (small(), (2, 2, 1), False, "expected at most 1 hidden units, found 2"),
        (small("hardmax"), (2, 2, 2), False, "expected softmax, found hardmax"),
        (small(), (2, 2, 2), True, "expected hardmax, found softmax"),
        (small("softmax", (unit(2, 1),) * 2), (2, 2, 2), False, "expected ReLU, found piecewise-linear units"),
        (
            small("hardmax", (unit(3, 1), unit(4, 1))),
            (2, 2, 2),
            True,
            "unit 1: expected at most 3 pieces, one of them constant, found 4 pieces",
        ),
        (
            small("hardmax", (unit(3, 0), unit(3, 1))),
            (2, 2, 2),
            True,
            "unit 0: expected at most 3 pieces, one of them constant, found 3 pieces",
        ),
        (
            Layer(Attention((head(2, 3), BIASED)), FeedForward.none(3)),
            (2, 2, 2),
            False,
            "head 1: the class has no query bias, found b_q ≠ 0",
        ),
        (
            Layer(Attention((BIASED,), "hardmax"), FeedForward.none(3)),
            (2, 2, 2),
            True,
            "head 0: the class has no query bias, found b_q ≠ 0",
        ),
    ],
)
def test_each_way_out_of_the_class(layer: Layer, bounds: tuple[int, int, int], modified: bool, witness: str) -> None:
    fact = Transformer((layer,)).class_membership(*bounds, modified=modified)
    assert (fact.holds, fact.witness) == (False, f"layer 0: {witness}")
    inside = small("hardmax" if modified else "softmax")
    if inside.attention.kind == layer.attention.kind and max(bounds) == min(bounds) == 2:
        fact = Transformer((inside, layer)).class_membership(*bounds, modified=modified)
        assert (fact.holds, fact.witness) == (False, f"layer 1: {witness}")


# Data: what a dataset asks of a model


@given(st.integers(1, 4), st.integers(0, 2), st.booleans(), st.booleans(), st.booleans())
def test_queries(m: int, m_p: int, causal: bool, embedded: bool, all_tokens: bool) -> None:
    X = R([[i + 10 * j for j in range(m)] for i in range(2)])
    targets = R([[100 * i + j for j in range(m if all_tokens else 1)] for i in range(2)])
    E = R([[1000 * (j + 1) for j in range(m_p + m)] for _ in range(2)]) if embedded else None
    layer = Layer(Attention((head(1, 2),), causal=causal), FeedForward.none(2))
    asked = Dataset((Example(X, targets),)).queries(Transformer((layer,), E))
    if embedded and m_p == 0:
        with pytest.raises(ValueError, match=f"E has {m} columns, which leaves no prompt .* expected at least {m + 1}"):
            list(asked)
        return
    queries = list(asked)
    assert [query.column for query in queries] == (list(range(m)) if all_tokens else [m - 1])
    for k, query in enumerate(queries):
        seen = query.column + 1 if causal else m
        shifted = [[X[i, j] + (1000 * (m_p + j + 1) if embedded else 0) for j in range(seen)] for i in range(2)]
        assert query.context == R(shifted)
        assert query.token == [row[query.column] for row in shifted]
        assert list(query.target) == targets.column(k)
        assert query.X == X
        assert str(query) == f"example 0, token {query.column}"


def test_queries_and_layer_outputs_speak_of_the_same_tokens() -> None:
    """A target computed by the model at every token of [P, X] is met at every query, by the query's own context."""
    plain = replace(scalar_layer("softmax", causal=True), heads=scalar_layer("softmax").heads)
    network = model([plain], scalars("0", "1", "2", "0"))
    P, X = R([[3]]), R([[1, 1, 2]])
    outputs = network.with_prompt(P, X)
    assert network.E is not None
    prompt = RationalMatrix(P.mat + network.E.columns(0, 1).mat)
    for query in Dataset((Example(X, X),)).queries(network):
        here: Matrix = network.layers[0].output(prompt.hstack(query.context), 1 + query.column)
        assert here == outputs.columns(query.column, query.column + 1)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Example(zeros(0, 2), zeros(0, 1)), "X: expected at least one row and one token, found 0×2"),
        (lambda: Example(zeros(2, 0), zeros(2, 1)), "X: expected at least one row and one token, found 2×0"),
        (lambda: Example(zeros(2, 3), zeros(3, 1)), "target: X has 2 rows, the target has 3"),
        (lambda: Example(zeros(2, 3), zeros(2, 2)), "target: expected 1 or 3 columns (the tokens of X), found 2"),
        (lambda: Dataset(()), "examples: expected at least one example, found none"),
        (
            lambda: Dataset((Example(I1, I1), Example(zeros(2, 1), zeros(2, 1)))),
            "example 1: expected 1 rows as in example 0, found 2",
        ),
        (
            lambda: list(Dataset((Example(zeros(2, 1), zeros(2, 1)),)).queries(model([scalar_layer("softmax")]))),
            "data: the model has width 1, the examples have 2 rows",
        ),
        (
            lambda: list(
                Dataset((Example(I1, I1), Example(zeros(1, 2), I1))).queries(
                    model([scalar_layer("softmax")], scalars("0", "0", "0"))
                )
            ),
            "example 1: an embedding E fixes the prompt length, so all examples need the same number of tokens; "
            "expected 1 as in example 0, found 2",
        ),
    ],
)
def test_data_errors_name_both_sides(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        build()
    assert str(error.value) == message


def test_known_value_by_hand() -> None:
    """Two tokens 0 and 1 with scores x·z: the token 1 sees weights 1/(1+e) and e/(1+e), the token 0 one half each."""
    output = model([scalar_layer("softmax")])(R([[0, 1]]))
    assert isinstance(output, ExpMatrix)
    assert output[0, 0] == ExpFraction.of("1/2")
    with flint.ctx.workprec(200):
        e = arb(1).exp()
        assert output[0, 1].enclosure().overlaps(1 + e / (1 + e))
