"""Makers of unmemorizable pairs: what they make is accepted by the kernel, what they refuse is refused rightly."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from flint import fmpq
from hypothesis import settings
from layer_instances import demand_all_true

from constructions.data import Dataset, Example
from constructions.numbers.rational import RationalMatrix, column_vector, dot, vector
from constructions.single_layer.decide import decide
from constructions.single_layer.pair import (
    NoPairError,
    UnmemorizablePair,
    closeness_pair,
    cone_pair,
    orthogonal_pair,
    unmemorizable_pair,
)
from constructions.single_layer.preimage import preimage
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from constructions.verdict import Memorization
from verify.certificate import Certificate
from verify.claims.unmemorizable_pair import certificate
from verify.instances import random_full_rank, random_head, random_layer, random_matrix, random_mlp

Row = list[fmpq]
MAKERS: dict[str, Callable[..., UnmemorizablePair]] = {
    "orthogonal": orthogonal_pair,
    "cone": cone_pair,
    "closeness": closeness_pair,
}
W_BELOW, W_ABOVE = fmpq(278464542761073, 10**15), fmpq(278464542761074, 10**15)
"""Rationals around W(1/e) = 0.278464542761073795…, the largest q·x_0 for which the outputs along q have both signs."""


def layer_for(k: int) -> Layer:
    """Layers of every kind by turns: d = 2..6, one or two heads, small heads, injective or not, with and without
    mask and query bias."""
    rng = random.Random(f"makers/{k}")
    d, count = 2 + k % 5, 1 + (k // 5) % 2
    size = rng.randint(1, d // count)
    layer = random_layer(rng, d, heads=count, s=size, r=rng.randint(0, 4), contractive=bool((k // 10) % 2))
    heads = layer.attention.heads
    if k % 3 == 0:
        heads = tuple(Head(h.W_q, h.W_k, h.W_v, h.W_o, random_matrix(rng, size, 1)) for h in heads)
    return Layer(Attention(heads, causal=k % 4 == 0), layer.mlp)


def targets_for(layer: Layer, rng: random.Random) -> tuple[Row, Row, Row]:
    """A token and two targets in the range of the MLP."""
    token, z_1, z_2 = (random_matrix(rng, layer.width, 1, denominator=2) for _ in range(3))
    y_1, y_2 = layer.mlp(z_1), layer.mlp(z_2)
    assert isinstance(y_1, RationalMatrix)
    assert isinstance(y_2, RationalMatrix)
    return token.column(0), y_1.column(0), y_2.column(0)


def demand_sound(pair: UnmemorizablePair, token: Row | None, targets: tuple[Row, Row] | None) -> Certificate:
    """The dataset is the one asked for, two different contexts with one last token, and decide() agrees."""
    first, second = pair.data.examples
    last = first.X.column(first.X.shape[1] - 1)
    assert last == second.X.column(second.X.shape[1] - 1)
    assert first.X != second.X
    if token is not None:
        assert last == token
    if targets is not None:
        assert (first.targets.column(0), second.targets.column(0)) == targets
    assert decide(pair.model, pair.data).verdict is Memorization.UNMEMORIZABLE
    return certificate(pair.model, pair.proof)


def test_every_layer_has_a_pair(tmp_path: Path) -> None:
    """unmemorizable_pair() on 150 layers: with independent columns of [W_o …] and full rank none is refused."""
    certificates, arguments = [], Counter[str]()
    for k in range(150):
        layer = layer_for(k)
        stacked = layer.attention.heads[0].W_o
        for head in layer.attention.heads[1:]:
            stacked = stacked.hstack(head.W_o)
        chosen = k % len(layer.attention.heads)
        if stacked.rank() < stacked.shape[1]:
            continue
        pair = unmemorizable_pair(layer, head=chosen)
        assert all(s.head == chosen for line in pair.proof.pairs for s in line)
        arguments[pair.proof.argument] += 1
        certificates.append(demand_sound(pair, None, None))
    assert len(certificates) >= 130
    demand_all_true(tmp_path, certificates)


@pytest.mark.parametrize("name", MAKERS)
def test_given_token_and_targets(name: str, tmp_path: Path) -> None:
    """Each construction with random token and targets; closeness refuses equal targets only (one head)."""
    certificates, refused = [], Counter[str]()
    for k in range(120):
        layer = layer_for(k)
        token, y_1, y_2 = targets_for(layer, random.Random(f"targets/{name}/{k}"))
        try:
            pair = MAKERS[name](layer, token, y_1, y_2)
        except NoPairError as refusal:
            refused[str(refusal).split(":")[-1][:30]] += 1
            if name == "closeness" and len(layer.attention.heads) == 1:
                assert y_1 == y_2, refusal  # noqa: PT017 - some are refused, some are not
            continue
        assert pair.proof.argument == ("closeness" if name == "closeness" else "cone")
        certificates.append(demand_sound(pair, token, (y_1, y_2)))
    assert len(certificates) >= (90 if name == "closeness" else 30), refused
    demand_all_true(tmp_path, certificates)


def span_of_cone(a: Row, b: Row) -> list[Row]:
    """A basis of the span of {w : w·a ≤ 0 ≤ w·b}: everything, or the complement of a when b is a positive multiple."""
    both = RationalMatrix.of([a, b])
    if both.rank() == 1 and dot(a, b) > 0:
        return RationalMatrix.of([a]).nullspace()
    return RationalMatrix.identity(len(a)).rows()


def test_the_cone_is_refused_exactly_in_the_degenerate_cases() -> None:
    """One head, injective MLP: refused iff V^T w = 0 for every w of the cone, or all V^T w are parallel to q and
    q·x_0 > W(1/e) — decided here by ranks alone."""
    outcomes: Counter[str] = Counter()
    for k in range(600):
        rng = random.Random(f"degenerate/{k}")
        d = rng.choice([1, 1, 2, 2, 2, 3])
        s = rng.randint(1, d)
        layer = Layer(Attention((random_head(rng, d, s),)), random_mlp(rng, d, rng.randint(0, 2), contractive=True))
        if rng.random() < 0.1:
            zero = RationalMatrix.zeros(s, d)
            head = layer.attention.heads[0]
            layer = Layer(Attention((Head(zero, head.W_k, head.W_v, head.W_o),)), layer.mlp)
        head = layer.attention.heads[0]
        token = random_matrix(rng, d, 1, denominator=rng.choice([1, 2, 6])).column(0)
        q = head.logit_vectors(column_vector(token)).column(0)
        a = random_matrix(rng, d, 1).column(0)
        if rng.random() < 0.5:  # across g = V^{-T} q, where there is one
            across = RationalMatrix.of([head.V.T.solve(q) or q]).nullspace()
            a = across[0] if across else a
        b = [fmpq(rng.choice([-1, 2, 3])) * x for x in a] if rng.random() < 0.7 else random_matrix(rng, d, 1).column(0)
        images = [layer.mlp(column_vector([x + t for x, t in zip(v, token, strict=True)])) for v in (a, b)]
        y_1, y_2 = (y.column(0) for y in images)  # type: ignore[attr-defined]
        seen = [head.V.T.apply(w) for w in span_of_cone(a, b)]
        rank = RationalMatrix.of(seen, columns=d).rank() if seen else 0
        parallel = rank == 1 and RationalMatrix.of([*seen, q]).rank() == 1 and any(x != 0 for x in q)
        s_0 = dot(q, token)
        if rank == 0:
            expected = "no w"
        elif parallel and s_0 > W_ABOVE:
            expected = "degenerate case"
        else:
            expected = "made by κ = e^ρ" if parallel else "made"
        outcomes[expected] += 1
        try:
            cone_pair(layer, token, y_1, y_2)
        except NoPairError as refusal:
            assert expected in str(refusal), (k, expected, refusal)  # noqa: PT017
        else:
            assert expected.startswith("made"), (k, expected)
    assert min(outcomes.values()) >= 8, outcomes
    assert set(outcomes) == {"no w", "degenerate case", "made", "made by κ = e^ρ"}


def degenerate_layer(rng: random.Random, s_0: fmpq) -> tuple[Layer, Row, Row, Row]:
    """d = 2 with q·x_0 = s_0 and shifted preimages p, 3p with p across g = V^{-T}q: the only w is ±g."""
    while True:
        V, W_k, W_q = (random_full_rank(rng, 2, 2) for _ in range(3))
        token = random_matrix(rng, 2, 1).column(0)
        score = dot(Head(W_q, W_k, V).logit_vectors(column_vector(token)).column(0), token)
        if score == 0 or (s_0 != 0 and (score > 0) != (s_0 > 0)):
            continue
        head = Head(W_q.scaled(s_0 / score), W_k, V)
        q = head.logit_vectors(column_vector(token)).column(0)
        if s_0 == 0:
            head = Head(W_q, W_k, V, b_q=column_vector([-x for x in W_q.apply(token)]))  # q = 0
            q = RationalMatrix.of([[1, 0]]).rows()[0]
        g = V.T.inverse().apply(q)
        p = [-g[1], g[0]]
        mlp = random_mlp(rng, 2, rng.randint(0, 3), contractive=True)
        layer = Layer(Attention((head,)), mlp)
        targets = [mlp(column_vector([t + c * x for t, x in zip(token, p, strict=True)])) for c in (1, 3)]
        y_1, y_2 = (y.column(0) for y in targets)  # type: ignore[attr-defined]
        return layer, token, y_1, y_2


def test_the_degenerate_case_is_refused_by_name_and_solved_by_closeness(tmp_path: Path) -> None:
    certificates = []
    for k, s_0 in enumerate([W_ABOVE, fmpq(1), fmpq(2), fmpq(1, 3), fmpq(50)] * 4):
        layer, token, y_1, y_2 = degenerate_layer(random.Random(f"degenerate-on-purpose/{k}"), s_0)
        for construct in (cone_pair, orthogonal_pair):
            with pytest.raises(NoPairError, match=r"^degenerate case.*W\(1/e\) = 0\.2784"):
                construct(layer, token, y_1, y_2)
        pair = closeness_pair(layer, token, y_1, y_2)
        assert pair.proof.argument == "closeness"
        certificates.append(demand_sound(pair, token, (y_1, y_2)))
    demand_all_true(tmp_path, certificates)


def test_below_the_threshold_the_cone_is_made_at_kappa_not_one(tmp_path: Path) -> None:
    """The same layers with q·x_0 ≤ W(1/e): negative, zero (q = 0), small, and 8·10^-16 below W(1/e)."""
    certificates = []
    for k, s_0 in enumerate([W_BELOW, fmpq(-1), fmpq(-20), fmpq(1, 4), fmpq(0), fmpq(1, 1000)] * 4):
        layer, token, y_1, y_2 = degenerate_layer(random.Random(f"degenerate-on-purpose/{k}"), s_0)
        pair = cone_pair(layer, token, y_1, y_2)
        assert pair.proof.argument == "cone"
        certificates.append(demand_sound(pair, token, (y_1, y_2)))
    demand_all_true(tmp_path, certificates)


@pytest.mark.parametrize("digits", [20, 25, 40, 60])
def test_very_close_to_the_threshold(digits: int, tmp_path: Path) -> None:
    """10^-20 to 10^-60 below W(1/e) the cone is still made, the same distance above it is refused."""
    W = 27846454276107379510935873902298015543947748861974576545317810  # W(1/e) cut off after 62 digits
    below = fmpq(W // 10 ** (62 - digits), 10**digits)
    layer, token, y_1, y_2 = degenerate_layer(random.Random("close"), below)
    demand_all_true(tmp_path, [demand_sound(cone_pair(layer, token, y_1, y_2), token, (y_1, y_2))])
    layer, token, y_1, y_2 = degenerate_layer(random.Random("close"), below + fmpq(1, 10**digits))
    with pytest.raises(NoPairError, match=r"^degenerate case.*not below W\(1/e\)"):
        cone_pair(layer, token, y_1, y_2)


def test_the_papers_dimension_condition_suffices_for_the_orthogonal_pair() -> None:
    """d ≥ 2 + dim span of the shifted preimages and V invertible: never refused."""
    for k in range(60):
        rng = random.Random(f"dimension/{k}")
        d = rng.randint(3, 6)
        layer = random_layer(rng, d, r=rng.randint(0, 3))
        token = random_matrix(rng, d, 1).column(0)
        direction = random_matrix(rng, d, 1).column(0)
        other = [fmpq(rng.randint(-3, 3)) * x for x in direction]
        if d >= 4:
            other = random_matrix(rng, d, 1).column(0)
        shifted = [[t + x for t, x in zip(token, v, strict=True)] for v in (direction, other)]
        y_1, y_2 = (layer.mlp(column_vector(z)).column(0) for z in shifted)  # type: ignore[attr-defined]
        pair = orthogonal_pair(layer, token, y_1, y_2)
        for line in pair.proof.pairs:
            for separation in line:
                assert dot(separation.w, direction) == dot(separation.w, other) == 0


@pytest.mark.parametrize(
    ("layer", "arguments", "reason"),
    [
        (random_layer(random.Random(1), 2), ([1, 0], [1, 1], [1, 1]), "different targets"),
        (random_layer(random.Random(1), 2), ([1, 0, 0], [1, 1], [1, 2]), "token: expected 2 entries"),
        (random_layer(random.Random(1), 2), ([1, 0], [1], [1, 2]), "y_1: expected 2 entries"),
    ],
)
def test_refusals_name_the_condition(layer: Layer, arguments: tuple[list[int], ...], reason: str) -> None:
    with pytest.raises(NoPairError, match=reason):
        closeness_pair(layer, *arguments)


def test_heads_that_do_not_decouple_are_refused() -> None:
    rng = random.Random(3)
    layer = random_layer(rng, 2, heads=2, s=2)
    for construct in (cone_pair, closeness_pair, orthogonal_pair):
        with pytest.raises(NoPairError, match="other heads reach every direction"):
            construct(layer, [1, 0], [1, 1], [1, 2])
    with pytest.raises(NoPairError, match="head: expected 0 to 1, found 2"):
        cone_pair(layer, [1, 0], [1, 1], [1, 2], head=2)


def test_out_of_range_targets_are_refused() -> None:
    fold = FeedForward(
        RationalMatrix.of([[1, 0]]), RationalMatrix.zeros(1, 1), RationalMatrix.of([[-2], [0]]),
        RationalMatrix.zeros(2, 1),
    )  # fmt: skip
    I = RationalMatrix.identity(2)
    layer = Layer(Attention((Head(I, I, I),)), fold)
    with pytest.raises(NoPairError, match="y_2 is out of range"):
        cone_pair(layer, [0, 0], [-1, 0], [1, 0])


def test_decisions_on_random_data_are_accepted(tmp_path: Path) -> None:
    """Data that nobody made for the purpose: masks, embeddings, targets for all tokens; each proof about a pair of
    queries has a certificate that the kernel accepts, of every argument."""
    certificates, arguments = [], Counter[str]()
    count = 3 * settings.default.max_examples
    for k in range(count):
        rng = random.Random(f"decide/{k}")
        d, m = rng.randint(1, 4), rng.randint(1, 3)
        layer = random_layer(rng, d, heads=rng.randint(1, 2), s=rng.randint(1, d), r=rng.randint(0, 3),
                             contractive=k % 3 == 0)  # fmt: skip
        layer = Layer(Attention(layer.attention.heads, causal=rng.random() < 0.3), layer.mlp)
        E = random_matrix(rng, d, m + rng.randint(1, 2)) if rng.random() < 0.3 else None
        model = Transformer((layer,), E)
        token = random_matrix(rng, d, 1)
        examples = []
        for _ in range(2):
            X = random_matrix(rng, d, m - 1).hstack(token) if m > 1 else token
            n = m if rng.random() < 0.3 else 1
            examples.append(Example(X, random_matrix(rng, d, n)))
        decision = decide(model, Dataset(tuple(examples)))
        if decision.proof is not None:
            assert decision.verdict is Memorization.UNMEMORIZABLE
            arguments[decision.proof.argument] += 1
            certificates.append(certificate(model, decision.proof))
    assert set(arguments) == {"cone", "closeness", "contradictory-data", "out-of-range"}, arguments
    assert len(certificates) >= 2 * count // 5, arguments
    demand_all_true(tmp_path, certificates)


def test_the_span_of_an_infinite_preimage_is_used() -> None:
    """z ↦ z − ReLU(z) in one coordinate: the preimage of 0 there is a ray, and w must not see it."""
    flat = FeedForward(
        RationalMatrix.of([[1, 0, 0]]), RationalMatrix.zeros(1, 1), RationalMatrix.of([[-1], [0], [0]]),
        RationalMatrix.zeros(3, 1),
    )  # fmt: skip
    I = RationalMatrix.identity(3)
    layer = Layer(Attention((Head(I, I, I),)), flat)
    assert preimage(flat, vector([0, 1, 0])).points is None
    for construct in (cone_pair, closeness_pair):
        pair = construct(layer, [0, 0, 1], [0, 1, 0], [0, 0, 2])
        assert all(s.w[0] <= 0 for line in pair.proof.pairs for s in line)
