"""Claim: low-rank updates of the MLP memorize, explicitly, with their parameters counted (THEORY section 5)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from constructions.data import Dataset, Example, Query
from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.low_rank import (
    Feature,
    NoUpdateError,
    TriangularUpdate,
    solve_exactly,
    solve_rational,
    triangular_update,
)
from constructions.single_layer.pair import NoPairError, unmemorizable_pair
from constructions.single_layer.prompt_length import tight_dataset
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from constructions.verdict import Evidence, Verdict
from verify import certificate as write
from verify.certificate import Certificate
from verify.claims.claim import Case, CaseResult, Claim, Constant, Finding, Settings
from verify.falsifiers.low_rank_memorization import FALSIFIER
from verify.instances import random_layer, random_matrix

SLUG = "low-rank-memorization"


def _instance(model: Transformer, queries: Sequence[Query]) -> dict[str, Any]:
    return {"layer": write.layer(model), "queries": [write.query(query) for query in queries]}


def triangular_certificate(model: Transformer, queries: Sequence[Query], update: TriangularUpdate) -> Certificate:
    """With this first layer some n columns of W_2 memorize."""
    witness = {
        "W_1": write.matrix(update.W_1),
        "b_1": write.vector(update.b_1.column(0)),
        "neurons": list(update.neurons),
        "order": list(update.order),
    }
    return Certificate(SLUG, "triangular-update", Evidence.EXACT, _instance(model, queries), witness)


def updated_certificate(model: Transformer, queries: Sequence[Query], updated: FeedForward) -> Certificate:
    """This rational MLP memorizes."""
    return Certificate(SLUG, "updated", Evidence.EXACT, _instance(model, queries), write.mlp(updated))


def impossible_certificate(model: Transformer, queries: Sequence[Query], first: int, second: int) -> Certificate:
    """Two queries with one feature and two targets."""
    return Certificate(SLUG, "impossible", Evidence.EXACT, _instance(model, queries), {"queries": [first, second]})


# -- cases ----------------------------------------------------------------------------------------------------------


def random_data(rng: random.Random, d: int, n: int, r: int, heads: int = 1) -> tuple[Transformer, Dataset]:
    """A layer with r hidden units and moderate weights, n examples of one to three tokens."""

    def matrix(rows: int, columns: int) -> RationalMatrix:
        return random_matrix(rng, rows, columns, size=4, denominator=4)

    attention = Attention(tuple(Head(matrix(d, d), matrix(d, d), matrix(d, d)) for _ in range(heads)))
    mlp = FeedForward(matrix(r, d), matrix(r, 1), matrix(d, r), matrix(d, 1))
    examples = [Example(matrix(d, rng.randint(1, 3)), matrix(d, 1)) for _ in range(n)]
    return Transformer((Layer(attention, mlp),)), Dataset(tuple(examples))


def _update(model: Transformer, queries: Sequence[Query], what: str, biases: Any = "updated") -> CaseResult:
    try:
        update = triangular_update(model.layers[0], queries, biases=biases)
    except NoUpdateError as error:
        return CaseResult(Verdict.UNDECIDED, Evidence.EXACT, str(error))
    n, d = len(queries), model.width
    measured: dict[str, Any] = {"parameters": update.parameters, "prompt_parameters_at_least": n * d}
    exact = ""
    if n <= 6:
        if not solve_exactly(update, queries).meets(queries):
            return CaseResult(Verdict.REFUTED, Evidence.EXACT, "the solved update does not give the targets")
        exact = ", outputs equal in Frac(E)"
    summary = f"{what}: rank {update.rank} in W_1 and {n} columns of W_2, {update.parameters} parameters{exact}"
    return CaseResult(Verdict.PROVED, Evidence.EXACT, summary, triangular_certificate(model, queries, update), measured)


def _against_prompts(result: CaseResult, d: int, prompt: str, needed: int | None) -> CaseResult:
    """The case with its parameters beside the ``needed`` ones of a prompt (None: no prompt does it)."""
    if result.verdict is not Verdict.PROVED:
        return result
    count = result.measured["parameters"]
    slack = "no number against a number" if needed is None else f"{count - needed} more"
    certified = f"this update: {count}"
    constant = Constant(f"parameters that memorize these data, d = {d}", prompt, certified, slack)
    return replace(result, constants=(constant,))


def _random(d: int, n: int, seed: int, biases: str = "updated", heads: int = 1) -> CaseResult:
    rng = random.Random(f"{SLUG}/{seed}/{d}/{n}/{biases}/{heads}")
    for _ in range(50):
        model, data = random_data(rng, d, n, n + 2, heads)
        queries = list(data.queries(model))
        found = _update(model, queries, f"{n} examples, d = {d}", biases)
        if found.verdict is Verdict.PROVED:
            break
    return found


def _pair(d: int, seed: int) -> CaseResult:
    """The two examples that no prompt memorizes."""
    rng = random.Random(f"{SLUG}/pair/{seed}/{d}")
    layer = random_layer(rng, d, r=3, contractive=True)
    try:
        pair = unmemorizable_pair(layer)
    except NoPairError as error:
        return CaseResult(Verdict.UNDECIDED, Evidence.EXACT, str(error))
    model = Transformer((layer,))
    result = _update(model, list(pair.data.queries(model)), "a pair that no prompt memorizes")
    return _against_prompts(result, d, "a prompt: no number (claim unmemorizable-pair)", None)


def _tight(d: int, n: int, seed: int) -> CaseResult:
    """The dataset for which n tokens are needed, targets rounded to rationals."""
    rng = random.Random(f"{SLUG}/tight/{seed}/{d}")
    mlp = FeedForward(
        random_matrix(rng, n, d),
        random_matrix(rng, n, 1),
        RationalMatrix.zeros(d, n),
        RationalMatrix.zeros(d, 1),
    )
    data = tight_dataset(d, n, seed, mlp)
    model = Transformer((data.layer,))
    result = _update(model, list(data.rounded().queries(model)), f"a dataset that needs a prompt of {n} tokens")
    return _against_prompts(result, d, f"a prompt: at least nd = {n * d} (cf. Theorem 4)", n * d)


def equal_scores(d: int, n: int, seed: int) -> tuple[Transformer, Dataset]:
    """All logits zero, so all features are rational."""
    rng = random.Random(f"{SLUG}/rational/{seed}/{d}/{n}")
    I = RationalMatrix.identity(d)
    mlp = FeedForward(
        random_matrix(rng, n, d), random_matrix(rng, n, 1), random_matrix(rng, d, n), random_matrix(rng, d, 1)
    )
    layer = Layer(Attention((Head(RationalMatrix.zeros(d, d), I, I),)), mlp)
    examples = [Example(random_matrix(rng, d, 2, size=9), random_matrix(rng, d, 1, size=9)) for _ in range(n)]
    return Transformer((layer,)), Dataset(tuple(examples))


def _rational(d: int, n: int, seed: int) -> CaseResult:
    model, data = equal_scores(d, n, seed)
    queries = list(data.queries(model))
    try:
        update = triangular_update(model.layers[0], queries)
    except NoUpdateError as error:
        return CaseResult(Verdict.UNDECIDED, Evidence.EXACT, str(error))
    updated = solve_rational(update, queries)
    if updated is None:
        return CaseResult(Verdict.UNDECIDED, Evidence.EXACT, "expected rational features")
    summary = f"{n} examples, d = {d}, equal scores: the updated MLP, rational, gives every target"
    return CaseResult(Verdict.PROVED, Evidence.EXACT, summary, updated_certificate(model, queries, updated))


def _same_feature() -> CaseResult:
    """Two contexts of which the head sees the same, with different targets."""
    R = RationalMatrix.of
    I = RationalMatrix.identity(2)
    mlp = FeedForward(I, RationalMatrix.zeros(2, 1), I, RationalMatrix.zeros(2, 1))
    model = Transformer((Layer(Attention((Head(I, I, I),)), mlp),))
    first = Example(R([[0, 2, 1], [3, 1, 0]]), R([[1], [0]]))
    second = Example(R([[2, 0, 1], [1, 3, 0]]), R([[0], [1]]))
    queries = list(Dataset((first, second)).queries(model))
    features = [Feature.of(model.layers[0], query) for query in queries]
    if not features[0].equals(features[1]):
        return CaseResult(Verdict.UNDECIDED, Evidence.EXACT, "expected equal features")
    summary = "two orders of one context with two targets: no MLP update tells them apart"
    return CaseResult(Verdict.PROVED, Evidence.EXACT, summary, impossible_certificate(model, queries, 0, 1))


def cases(settings: Settings) -> list[Case]:
    seed = settings.seed
    found = [
        Case("random-d3-n4", partial(_random, 3, 4, seed)),
        Case("random-d2-n6", partial(_random, 2, 6, seed)),
        Case("two-heads-d3-n3", partial(_random, 3, 3, seed, "updated", 2)),
        Case("biases-kept-d4-n3", partial(_random, 4, 3, seed, "kept")),
        Case("unmemorizable-pair-d3", partial(_pair, 3, seed)),
        Case("tight-d4-n4", partial(_tight, 4, 4, seed)),
        Case("rational-d8-n8", partial(_rational, 8, 8, seed)),
        Case("same-feature", _same_feature),
    ]
    if settings.thorough:
        found += [Case(f"random-d{d}-n{n}", partial(_random, d, n, seed)) for d in (1, 2, 4, 5) for n in (2, 3, 5)]
        found.append(Case("rational-d32-n32", partial(_rational, 32, 32, seed)))
    return found


CLAIM = Claim(
    slug=SLUG,
    title="Low-rank memorization",
    statement=(
        "With r ≥ n hidden units and distinct features, a rank-one update of W_1, n entries of b_1 and n columns of "
        "W_2 memorize any n targets: d + 2n + nd parameters."
    ),
    source="Theorem 3 of the paper; THEORY section 5",
    scope="that this update memorizes these data, or that none can",
    cases=cases,
    depends=("unmemorizable-pair",),
    findings=(
        Finding(
            "The update has d + 2n + nd parameters, more than the nd of a prompt: what prompts lack is reach, not "
            "parameters.",
            "unmemorizable-pair-d3",
        ),
    ),
    falsifier=FALSIFIER,
)
