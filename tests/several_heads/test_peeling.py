"""Peeling against the one linear program, against kernels of dimension one solved by hand, and against prompts."""

from __future__ import annotations

import random
from collections import Counter

import flint
import pytest
from flint import arb, fmpq
from head_instances import (
    PRECISION,
    crossed_layer,
    given_pairs,
    head_output,
    layer_with,
    small_pairs,
    weighed,
)
from hypothesis import assume, example, given
from hypothesis import strategies as st

from constructions.numbers.balls import BallMatrix
from constructions.numbers.rational import RationalMatrix, column_vector, dot
from constructions.single_layer.peeling import Peeled, Stuck, holds, peel, star
from constructions.single_layer.several_heads import HeadPairs
from constructions.transformer import Attention

ZERO, ONE = [[0, 0], [0, 0]], [[1, 0], [0, 1]]
SECOND, FIRST = [[0, 1], [0, 0]], [[0, 0], [1, 0]]  # these V see the second, and the first coordinate
CROSSED = given_pairs([[[0, 1], [1, 0]], [[0, -1], [-1, 0]]], [SECOND, FIRST])
SPECIAL = {
    "one pair, V = 0": given_pairs([[[1, 2]]], [ZERO]),
    "one pair, V invertible": given_pairs([[[1, 2]]], [ONE]),
    "one token, three heads": given_pairs([[[1, 0], [0, 1], [2, 2]]], [ZERO, FIRST, SECOND]),
    "one head sees nothing": given_pairs([[[0, 0]], [[1, 1]]], [ZERO]),
    "one head sees all": given_pairs([[[0, 0]], [[1, 1]]], [ONE]),
    "one of two heads sees all": given_pairs([[[0, 0], [3, 1]]], [ONE, ZERO]),
    "equal as far as they are not seen": given_pairs([[[0, 1]], [[0, 2]]], [SECOND]),
    "crossed": CROSSED,
    "crossed, one is peeled before": given_pairs([[[5, 1], [1, 0]], [[0, -1], [-1, 0]]], [SECOND, FIRST]),
    "crossed, turned": given_pairs([[[1, 0], [0, 1]], [[-1, 0], [0, -1]]], [SECOND, FIRST]),
    "a middle one": given_pairs([[[0, 0, 0]], [[1, 0, 0]], [[2, 0, 0]]], [[[0, 1, 0], [0, 0, 1], [0, 0, 0]]]),
    "crossed, two peeled before": given_pairs(
        [[[0, 1, 0], [1, 0, 0]], [[0, -1, 0], [-1, 0, 0]], [[9, 5, 0], [5, 9, 0]]],
        [[[0, 1, 0]] + [[0] * 3] * 2, [[1, 0, 0]] + [[0] * 3] * 2],
    ),
}
STUCK = {"one head sees all", "equal as far as they are not seen", "crossed", "crossed, one is peeled before",
         "crossed, two peeled before"}  # fmt: skip


def specials(function: object) -> object:
    for pairs in SPECIAL.values():
        function = example(pairs)(function)  # type: ignore[arg-type]
    return function


def flow_is_valid(pairs: HeadPairs, found: Stuck) -> bool:
    """From the definition: no negative flow, none from a pair to itself, as much in as out, V^T η its drift, not
    everywhere zero."""
    N, d = len(pairs), pairs.width
    c, eta = found.flow.rows(), found.values.rows()
    assert len(c) == len(eta) == N
    some = False
    for a in range(N):
        assert c[a][a] == 0
        assert min(c[a]) >= 0
        assert sum(c[a], fmpq(0)) == sum((c[b][a] for b in range(N)), fmpq(0))
        drift = [sum((c[a][b] * (pairs.q[b][i] - pairs.q[a][i]) for b in range(N)), fmpq(0)) for i in range(d)]
        V = pairs.V[a % len(pairs.heads)].rows()
        assert [sum((V[r][i] * eta[a][r] for r in range(d)), fmpq(0)) for i in range(d)] == drift
        some = some or any(x != 0 for x in drift)
    return some


def peeled_is_valid(pairs: HeadPairs, found: Peeled) -> bool:
    """(*) from the definition; every pair is removed once."""
    N = len(pairs)
    assert sorted(found.order) == list(range(N))
    assert len(found.heights) == len(found.directions) == N
    for a, k in enumerate(found.directions):
        assert all(x == 0 for x in pairs.V[a % len(pairs.heads)].apply(list(k)))
        for b in range(N):
            if b != a:
                step = sum(((y - x) * z for x, y, z in zip(pairs.q[a], pairs.q[b], k, strict=True)), fmpq(0))
                assert step < found.heights[b] - found.heights[a]
    return holds(pairs, found.heights, found.directions)


def by_hand(pairs: HeadPairs) -> list[int] | None:
    """What remains in the end, where every V has rank d or d − 1: then a pair can be peeled iff it is the first or the
    last along the one direction (V invertible: iff nothing else remains). None for other ranks."""
    directions = []
    for V in pairs.V:
        kernel = V.nullspace()
        if len(kernel) > 1:
            return None
        directions.append(kernel[0] if kernel else None)
    remaining = list(range(len(pairs)))
    while remaining:
        for a in remaining:
            k = directions[a % len(pairs.heads)]
            others = [b for b in remaining if b != a]
            if k is None:
                free = not others
            else:
                steps = [dot(pairs.q[b], k) - dot(pairs.q[a], k) for b in others]
                free = not steps or max(steps) < 0 or min(steps) > 0
            if free:
                remaining.remove(a)
                break
        else:
            break
    return remaining


@specials
@given(small_pairs())
def test_peeling_and_the_linear_program_agree(pairs: HeadPairs) -> None:
    """Both peel or both are stuck; heights, directions and flows are what they are said to be."""
    found, reference = peel(pairs), star(pairs)
    if isinstance(found, Peeled):
        assert isinstance(reference, Peeled)
        assert peeled_is_valid(pairs, found)
        assert peeled_is_valid(pairs, reference)
    else:
        assert isinstance(reference, Stuck)
        assert flow_is_valid(pairs, found)
        assert flow_is_valid(pairs, reference)
        assert set(reference.remaining) <= set(found.remaining)
        flows = {a for a in range(len(pairs)) if any(x != 0 for x in found.flow.rows()[a])}
        assert flows <= set(found.remaining)
    remaining = by_hand(pairs)
    if remaining is not None:
        assert remaining == ([] if isinstance(found, Peeled) else sorted(found.remaining))


def test_special_cases_are_what_their_names_say() -> None:
    assert {name for name, pairs in SPECIAL.items() if isinstance(peel(pairs), Stuck)} == STUCK
    for name, remaining in (("crossed, one is peeled before", (1, 2, 3)), ("crossed, two peeled before", (0, 1, 2, 3))):
        found = peel(SPECIAL[name])
        assert isinstance(found, Stuck)
        assert found.remaining == remaining


def test_random_pairs_are_of_both_kinds() -> None:
    """Stuck sets with pairs that are peeled before, and flows with zero weights inside the stuck set, occur."""
    seen: Counter[str] = Counter()
    rng = random.Random("both kinds")
    for _ in range(150):
        d, h = rng.randint(1, 3), rng.randint(1, 3)
        n = rng.randint(1, d)
        vectors = [[[rng.randint(-2, 2) for _ in range(d)] for _ in range(h)] for _ in range(n)]
        if len({tuple(q) for row in vectors for q in row}) < n * h:
            continue
        pairs = given_pairs(vectors, [[[rng.randint(-1, 1) for _ in range(d)] for _ in range(d)] for _ in range(h)])
        found = peel(pairs)
        if isinstance(found, Peeled):
            seen["peeled"] += 1
        else:
            seen["stuck"] += 1
            seen["some peeled before"] += len(found.remaining) < len(pairs)
            places = [found.flow[a, b] for a in found.remaining for b in found.remaining if a != b]
            seen["zero weights"] += any(x == 0 for x in places)
            seen["dimension 0"] += any(pairs.kernels[a % h].shape[1] == 0 for a in found.remaining)
    assert min(seen[kind] for kind in ("peeled", "stuck", "some peeled before", "zero weights", "dimension 0")) >= 5, (
        seen
    )


@pytest.mark.parametrize("solve", [peel, star])
@pytest.mark.parametrize(
    "pairs",
    [
        given_pairs([[[1, 0]], [[1, 0]]], [ZERO]),  # two tokens at one head
        given_pairs([[[1, 0], [0, 1]], [[0, 1], [2, 2]]], [ZERO, ZERO]),  # across heads
        given_pairs([[[0, 0], [0, 0]]], [ONE, ONE]),
        given_pairs([[[0, 0], [0, 0], [0, 1]]], [SECOND, FIRST, ZERO]),
    ],
)
def test_shared_logit_vectors_are_refused(pairs: HeadPairs, solve: object) -> None:
    """Neither of two pairs that share a vector can be peeled, and no inequality between them says so."""
    with pytest.raises(ValueError, match="share"):
        solve(pairs)  # type: ignore[operator]


@given(small_pairs(), st.randoms(use_true_random=False))
@example(CROSSED, random.Random(1))
@example(SPECIAL["crossed, one is peeled before"], random.Random(2))
def test_any_order_leads_to_the_same_end(pairs: HeadPairs, rng: random.Random) -> None:
    """Heads and tokens exchanged: the same pairs remain."""
    h = len(pairs.heads)
    n = len(pairs) // h
    heads, tokens = rng.sample(range(h), h), rng.sample(range(n), n)
    names = [i * h + j for i in tokens for j in heads]
    other = HeadPairs(tuple(pairs.heads[j] for j in heads), tuple(pairs.q[a] for a in names))
    found, again = peel(pairs), peel(other)
    assert type(found) is type(again)
    if isinstance(found, Stuck) and isinstance(again, Stuck):
        assert sorted(names[a] for a in again.remaining) == sorted(found.remaining)
        assert flow_is_valid(other, again)


@given(small_pairs(), st.integers(1, 5), st.integers(-3, 3))
def test_scaled_and_shifted_vectors_peel_alike(pairs: HeadPairs, factor: int, shift: int) -> None:
    """Only differences count, and only up to a factor."""
    moved = HeadPairs(pairs.heads, tuple(tuple(factor * x + shift for x in q) for q in pairs.q))
    found, again = peel(pairs), peel(moved)
    assert type(found) is type(again)
    if isinstance(found, Stuck) and isinstance(again, Stuck):
        assert found.remaining == again.remaining


def test_one_head_is_peeled_iff_the_vectors_differ_where_it_is_blind() -> None:
    """Theorem A: any number of queries; one pair of vectors with a difference in the row space is enough to fail only
    if nothing else separates them."""
    V = [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
    blind = given_pairs([[[i, i * i, 1 - i]] for i in range(3)], [V])
    assert isinstance(peel(blind), Peeled)
    seen = given_pairs([[[0, 1, 1]], [[5, 1, 1]], [[2, 0, 3]]], [V])
    found = peel(seen)
    assert isinstance(found, Stuck)
    assert sorted(found.remaining) == [0, 1]


# --- what every prompt obeys -----------------------------------------------------------------------------------------


def stuck_sum(pairs: HeadPairs, found: Stuck, outputs: list[list[arb]]) -> arb:
    """Σ η_α·v_α."""
    return sum(
        (arb(x) * y for eta, v in zip(found.values.rows(), outputs, strict=True) for x, y in zip(eta, v, strict=True)),
        arb(0),
    )


def pair_outputs(pairs: HeadPairs, tokens: RationalMatrix, prompt: list[tuple[arb, list[fmpq]]]) -> list[list[arb]]:
    n = len(pairs) // len(pairs.heads)
    return [head_output(head, tokens.column(i), prompt) for i in range(n) for head in pairs.heads]


@st.composite
def prompts(draw: st.DrawFn, d: int) -> list[tuple[arb, list[fmpq]]]:
    """One to five tokens at any scale, with counts."""
    scale = draw(st.sampled_from([fmpq(1, 8), fmpq(1), fmpq(7), fmpq(60)]))
    tokens = draw(st.lists(st.lists(st.integers(-6, 6), min_size=d, max_size=d), min_size=1, max_size=5))
    with flint.ctx.workprec(PRECISION):
        return [(arb(draw(st.integers(1, 9))).log(), [scale * x for x in token]) for token in tokens]


STUCK_PAIRS = [pairs for name, pairs in SPECIAL.items() if name in STUCK]


@given(st.one_of(st.sampled_from(STUCK_PAIRS), small_pairs()), st.data())
def test_every_prompt_obeys_the_stuck_inequality(pairs: HeadPairs, data: st.DataObject) -> None:
    """Σ η·v is minus the sum of c times divergences of the weights, from both methods; so it is not positive."""
    found = peel(pairs)
    assume(isinstance(found, Stuck))
    reference = star(pairs)
    tokens = RationalMatrix.identity(pairs.width).columns(0, len(pairs) // len(pairs.heads))
    prompt = data.draw(prompts(pairs.width))
    with flint.ctx.workprec(PRECISION):
        outputs = pair_outputs(pairs, tokens, prompt)
        laws = [weighed(q, prompt) for q in pairs.q]
        for each in (found, reference):
            assert isinstance(each, Stuck)
            total = stuck_sum(pairs, each, outputs)
            divergences = arb(0)
            for a in range(len(pairs)):
                for b in range(len(pairs)):
                    if each.flow[a, b] != 0:
                        terms = (x * (x / y).log() for x, y in zip(laws[a], laws[b], strict=True))
                        divergences += arb(each.flow[a, b]) * sum(terms, arb(0))
            assert not total > 0
            assert (total + divergences).contains(0)
            assert float((total + divergences).rad()) < 1e-20


@given(st.one_of(st.sampled_from(STUCK_PAIRS), small_pairs()))
def test_with_the_other_sign_it_fails(pairs: HeadPairs) -> None:
    """A token gives equality, exactly; two tokens that differ along some q_β − q_α of the flow give a strict sign."""
    found = peel(pairs)
    assume(isinstance(found, Stuck))
    assert isinstance(found, Stuck)
    tokens = RationalMatrix.identity(pairs.width).columns(0, len(pairs) // len(pairs.heads))
    a, b = next((a, b) for a in found.remaining for b in found.remaining if found.flow[a, b] != 0)
    along = [y - x for x, y in zip(pairs.q[a], pairs.q[b], strict=True)]
    with flint.ctx.workprec(PRECISION):
        alone = stuck_sum(pairs, found, pair_outputs(pairs, tokens, [(arb(3), along)]))
        assert alone.contains(0)
        prompt = [(arb(0), along), (arb(0), [fmpq(0)] * pairs.width)]
        assert stuck_sum(pairs, found, pair_outputs(pairs, tokens, prompt)) < 0


@pytest.mark.parametrize("seed", range(6))
def test_the_inequality_holds_for_the_model_itself(seed: int) -> None:
    """The outputs of Attention at the tokens, over the prompt alone: in balls, and for one token in rationals."""
    rng = random.Random(f"model/{seed}")
    layer, tokens = crossed_layer()
    if seed % 2:
        layer, tokens = layer_with([[[0, 0, 1]], [[1, 0, 0]], [[2, 3, 0]]], [[[1, 1, 0], [0, 0, 1], [1, 2, 0]]])
    pairs = HeadPairs.of(layer.attention.heads, tokens)
    found = peel(pairs)
    assert isinstance(found, Stuck)
    d = layer.width
    for m in (1, 2, 7):
        P = RationalMatrix.of_columns([[fmpq(rng.randint(-30, 30), 4) for _ in range(d)] for _ in range(m)])
        with flint.ctx.workprec(PRECISION):
            total, exact = arb(0), fmpq(0)
            for a, eta in enumerate(found.values.rows()):
                i, j = divmod(a, len(pairs.heads))
                attention = Attention((layer.attention.heads[j],))
                x = column_vector(tokens.column(i))
                given = attention(BallMatrix.embed(x), BallMatrix.embed(P))
                total += sum((arb(y) * given[c, 0] for c, y in enumerate(eta)), arb(0))
                if m == 1:
                    value = attention(x, P).as_rational()  # type: ignore[attr-defined]
                    exact += dot(eta, value.column(0))
            assert exact == 0
            assert total.contains(0) if m == 1 else total < 0
