"""Ten and more claims that are false, and how small the counterexamples are that hypothesis ends with.

Each claim is a sentence one could believe, with an exact check, a strategy for what it speaks of, and a counterexample
made by hand. A search begins with a stated seed, stops at the first counterexample and shrinks it; what it reports is
measured beside the hand-made one. Run it as ``python benchmarks/shrinking.py [seed ...]``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from flint import fmpq
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from rich.console import Console
from rich.table import Table

from constructions.data import Dataset, Example
from constructions.numbers.exponential import ExpSum
from constructions.numbers.rational import RationalMatrix, column_vector, dot
from constructions.single_layer.decide import decide
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from constructions.verdict import Memorization
from verify.strategies import (
    heads,
    inputs,
    layers,
    matrices,
    mlps,
    prompts,
    smallest,
    transformers,
    vectors,
)


@dataclass(frozen=True)
class Size:
    """The numbers in a counterexample: how many, the longest side of a matrix, the largest numerator, the largest
    denominator."""

    numbers: int
    side: int
    numerator: int
    denominator: int

    @classmethod
    def of(cls, case: Any) -> Size:
        tables = list(_tables(case))
        entries = [x for table in tables for x in table.mat.entries()]
        return cls(
            len(entries),
            max(max(table.shape) for table in tables),
            max(abs(int(x.p)) for x in entries),
            max(int(x.q) for x in entries),
        )

    def within(self, other: Size) -> bool:
        return all(getattr(self, field.name) <= getattr(other, field.name) for field in fields(self))

    def __str__(self) -> str:
        return f"{self.numbers} numbers, side {self.side}, {self.numerator}/{self.denominator}"


def _tables(case: Any) -> Iterator[RationalMatrix]:
    if isinstance(case, RationalMatrix):
        yield case
    elif isinstance(case, list):
        yield column_vector(case)
    elif isinstance(case, tuple):
        for part in case:
            yield from _tables(part)
    elif is_dataclass(case):
        for field in fields(case):
            yield from _tables(getattr(case, field.name))


@dataclass(frozen=True)
class FalseClaim:
    """``holds`` decides the claim for one case, exactly; ``by_hand`` is a case for which it does not hold."""

    sentence: str
    cases: SearchStrategy[Any]
    holds: Callable[[Any], bool]
    by_hand: Any

    def reported(self, seed: int) -> Any:
        """The counterexample that a search from this seed ends with."""
        return smallest(self.cases, lambda case: not self.holds(case), seed=seed)


def row(*values: int) -> RationalMatrix:
    return RationalMatrix.of([list(values)])


def tall(*values: int) -> RationalMatrix:
    return row(*values).T


ONE, ZERO = row(1), row(0)
NONE = FeedForward.none(1)
TWO_VALUES = Head(ZERO, ZERO, ONE)
PLAIN = Head(ONE, ONE, ONE)


@st.composite
def two_inputs(draw: DrawFn) -> tuple[Head, RationalMatrix, RationalMatrix]:
    head = draw(heads(full_rank=True))
    X = draw(inputs(head.width))
    return head, X, draw(matrices(*X.shape))


def injective(case: tuple[Head, RationalMatrix, RationalMatrix]) -> bool:
    head, X, other = case
    attention = Attention((head,))
    return other == X or attention(X, X) != attention(other, other)


@st.composite
def several_heads(draw: DrawFn) -> tuple[tuple[Head, ...], list[fmpq]]:
    d = draw(st.integers(1, 2))
    return tuple(draw(st.lists(heads(d), min_size=2, max_size=2))), draw(vectors(d))


def root_of_squares(case: tuple[tuple[Head, ...], list[fmpq]]) -> bool:
    """On one token x and the token 0 the heads' outputs are Σ V_i x and 0; Frobenius norms stand for spectral ones."""
    several, x = case
    total = [sum(values, fmpq(0)) for values in zip(*(head.V.apply(x) for head in several), strict=True)]
    squares = sum((y * y for head in several for y in head.V.mat.entries()), fmpq(0))
    return dot(total, total) <= squares * dot(x, x)


@st.composite
def one_token_data(draw: DrawFn) -> tuple[Transformer, Dataset]:
    d = draw(st.integers(1, 2))
    layer = Layer(Attention((draw(heads(d, s=d, full_rank=True)),)), FeedForward.none(d))
    first = draw(vectors(d))
    second = draw(vectors(d))
    if first == second:
        second[0] += 1
    tokens = [column_vector(first), column_vector(second)]
    return Transformer((layer,)), Dataset(tuple(Example(X, column_vector(draw(vectors(d)))) for X in tokens))


@st.composite
def longer_prompts(draw: DrawFn) -> tuple[Head, RationalMatrix, list[fmpq], RationalMatrix]:
    d = draw(st.integers(1, 3))
    head = draw(heads(d))
    return (
        Head(matrix_of_zeros(head.W_q), head.W_k, head.W_v, head.W_o),
        draw(prompts(d)),
        draw(vectors(d)),
        draw(inputs(d)),
    )


def matrix_of_zeros(like: RationalMatrix) -> RationalMatrix:
    return RationalMatrix.zeros(*like.shape)


def never_worse(case: tuple[Head, RationalMatrix, list[fmpq], RationalMatrix]) -> bool:
    """For the target that P meets at the last token the loss is zero, so with one more token it would stay zero. (All
    scores are equal, so hardmax is softmax.)"""
    head, P, token, X = case
    layer = Layer(Attention((head,), "hardmax"), FeedForward.none(X.shape[0]))
    last, longer = P.shape[1] + X.shape[1] - 1, column_vector(token).hstack(P)
    return bool(layer.output(P.hstack(X), last) == layer.output(longer.hstack(X), last + 1))


@st.composite
def three_tokens(draw: DrawFn) -> tuple[Layer, RationalMatrix]:
    layer = draw(layers(h=1))
    return layer, draw(inputs(layer.width, min_tokens=3, max_tokens=3))


def order_matters(case: tuple[Layer, RationalMatrix]) -> bool:
    layer, X = case
    first, second, last = (X.columns(j, j + 1) for j in range(3))
    return first == second or layer.output(X, 2) != layer.output(second.hstack(first).hstack(last), 2)


@st.composite
def small_heads(draw: DrawFn) -> tuple[Head, ...]:
    d = draw(st.integers(1, 3))
    return draw(heads(d, s=1)), draw(heads(d, s=1))


@st.composite
def two_points(draw: DrawFn) -> tuple[FeedForward, list[fmpq], list[fmpq]]:
    mlp = draw(mlps(r=st.integers(1, 3), elements=st.integers(-1, 1)))
    return mlp, draw(vectors(mlp.width)), draw(vectors(mlp.width))


def one_preimage(case: tuple[FeedForward, list[fmpq], list[fmpq]]) -> bool:
    mlp, z, other = case
    injective_first = mlp.W_1.rank() == mlp.width
    return not injective_first or z == other or mlp(column_vector(z)) != mlp(column_vector(other))


NEAR = fmpq(1, 10**6)


@st.composite
def hardmax_heads(draw: DrawFn) -> tuple[Head, RationalMatrix]:
    head = draw(heads())
    return head, draw(inputs(head.width))


def continuous(case: tuple[Head, RationalMatrix]) -> bool:
    """The first entry of X moves by 10^-6, no output by more than 10^-3."""
    head, X = case
    rows = X.rows()
    rows[0][0] += NEAR
    moved, attention = RationalMatrix.of(rows), Attention((head,), "hardmax")
    before, after = attention(X, X), attention(moved, moved)
    assert isinstance(before, RationalMatrix)
    assert isinstance(after, RationalMatrix)
    return all(abs(x) <= 1000 * NEAR for x in (after - before).mat.entries())


@st.composite
def prompts_with_query(draw: DrawFn) -> tuple[Head, list[fmpq], RationalMatrix]:
    head = draw(heads())
    return head, draw(vectors(head.width)), draw(prompts(head.width))


def mass(head: Head, x: list[fmpq], P: RationalMatrix) -> ExpSum:
    """S(P, x)."""
    q = head.logit_vectors(column_vector(x)).column(0)
    return ExpSum.weighted([fmpq(1)] * P.shape[1], [dot(q, P.column(j)) for j in range(P.shape[1])])


def mass_grows(case: tuple[Head, list[fmpq], RationalMatrix]) -> bool:
    """With all tokens of the prompt twice as long the mass is no smaller."""
    head, x, P = case
    return (mass(head, x, P.scaled(2)) - mass(head, x, P)).sign() >= 0


def one_token_suffices(case: tuple[Head, list[fmpq], RationalMatrix]) -> bool:
    """A prompt whose tokens have one score acts like the single token that is their mean: one mass."""
    head, x, P = case
    q = head.logit_vectors(column_vector(x)).column(0)
    if len({dot(q, P.column(j)) for j in range(P.shape[1])}) > 1:
        return True
    return bool(mass(head, x, P) == mass(head, x, P.columns(0, 1)))


@st.composite
def full_rank_weights(draw: DrawFn) -> tuple[RationalMatrix, RationalMatrix]:
    s, d = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return draw(matrices(s, d, full_rank=True)), draw(matrices(s, d, full_rank=True))


@st.composite
def deep_models(draw: DrawFn) -> tuple[Transformer, RationalMatrix]:
    model = draw(transformers(1, 1, 0, modified=True, depth=st.integers(1, 2)))
    return model, draw(inputs(model.width))


def mask_changes_nothing(case: tuple[Transformer, RationalMatrix]) -> bool:
    """At the last token, which sees all tokens with and without a mask."""
    model, X = case
    masked = Transformer(tuple(Layer(replace(layer.attention, causal=True), layer.mlp) for layer in model.layers))
    m = X.shape[1]
    return bool(model(X).columns(m - 1, m) == masked(X).columns(m - 1, m))


def layer_of(*several: Head) -> Layer:
    return Layer(Attention(several), NONE)


UNIFORM = Transformer((Layer(Attention((TWO_VALUES,), "hardmax"), NONE),) * 2)
FLAT = FeedForward(ONE, ZERO, row(-1), ZERO)
FIRST, SECOND = Head(row(0, 0), row(0, 0), row(1, 0), tall(1, 0)), Head(row(0, 0), row(0, 0), row(0, 1), tall(0, 1))
CLAIMS: dict[str, FalseClaim] = {
    "injective": FalseClaim(
        "attention with weights of full rank is injective in X",
        two_inputs(),
        injective,
        (Head(row(1, 0), row(1, 0), row(1, 0), tall(1, 0)), tall(0, 0), tall(0, 1)),
    ),
    "root-of-squares": FalseClaim(
        "the root of the sum of squares over two heads is a Lipschitz constant",
        several_heads(),
        root_of_squares,
        ((TWO_VALUES, TWO_VALUES), [fmpq(1)]),
    ),
    "one-token-data": FalseClaim(
        "two different one-token inputs can be memorized with any targets",
        one_token_data(),
        lambda case: decide(*case).verdict is not Memorization.UNMEMORIZABLE,
        (Transformer((layer_of(PLAIN),)), Dataset((Example(ONE, ONE), Example(ZERO, ONE)))),
    ),
    "longer-prompt": FalseClaim(
        "one more token never raises the loss",
        longer_prompts(),
        never_worse,
        (TWO_VALUES, ZERO, [fmpq(1)], ZERO),
    ),
    "order": FalseClaim(
        "attention without a mask depends on the order of the context",
        three_tokens(),
        order_matters,
        (layer_of(Head(ZERO, ZERO, ZERO)), row(0, 1, 0)),
    ),
    "rank-of-heads": FalseClaim(
        "the value maps of two heads of size 1 add up to rank at most 1",
        small_heads(),
        lambda case: (case[0].V.mat + case[1].V.mat).rank() <= 1,
        (FIRST, SECOND),
    ),
    "one-preimage": FalseClaim(
        "an MLP with weights -1, 0, 1 and an injective W_1 has at most one preimage",
        two_points(),
        one_preimage,
        (FLAT, [fmpq(0)], [fmpq(1)]),
    ),
    "continuous": FalseClaim("hardmax attention is continuous", hardmax_heads(), continuous, (PLAIN, row(0, 1))),
    "mass": FalseClaim(
        "the mass S(P, x) does not fall when tokens get longer",
        prompts_with_query(),
        mass_grows,
        (PLAIN, [fmpq(1)], row(-1)),
    ),
    "one-token": FalseClaim(
        "tokens of one score act like a single one",
        prompts_with_query(),
        one_token_suffices,
        (Head(ZERO, ZERO, ZERO), [fmpq(0)], row(0, 0)),
    ),
    "bilinear-rank": FalseClaim(
        "W_k^T W_q has full rank when W_q and W_k have, for s ≥ d",
        full_rank_weights(),
        lambda case: case[0].shape[0] < case[0].shape[1] or case[1].T.times(case[0]).rank() == case[0].shape[1],
        (tall(1, 0), tall(0, 1)),
    ),
    "mask": FalseClaim(
        "a causal mask changes nothing at the last token",
        deep_models(),
        mask_changes_nothing,
        (UNIFORM, row(0, 1)),
    ),
}


def main(seeds: list[int]) -> int:
    table = Table(title=f"Counterexamples: by hand and as reported, seeds {', '.join(map(str, seeds))}")
    for column in ("claim, which is false", "by hand", "reported", "at most", "seconds"):
        table.add_column(column)
    worst = 0
    for claim in CLAIMS.values():
        by_hand = Size.of(claim.by_hand)
        for seed in seeds:
            begun = time.perf_counter()
            found = Size.of(claim.reported(seed))
            within = found.within(by_hand)
            worst = worst if within else 1
            seconds = f"{time.perf_counter() - begun:.1f}"
            table.add_row(claim.sentence, str(by_hand), str(found), "yes" if within else "NO", seconds)
    Console(width=160).print(table)
    return worst


if __name__ == "__main__":
    sys.exit(main([int(text) for text in sys.argv[1:]] or [0]))
