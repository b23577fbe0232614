"""Claim: for a single layer there are pairs of examples that no prompt of any length memorizes (THEORY section 2)."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from constructions.data import Dataset, Example
from constructions.numbers.rational import RationalMatrix, column_vector
from constructions.single_layer.decide import decide
from constructions.single_layer.pair import (
    NoPairError,
    UnmemorizablePair,
    closeness_pair,
    cone_pair,
    orthogonal_pair,
    unmemorizable_pair,
)
from constructions.single_layer.preimage import Branch, Preimage, Tree
from constructions.single_layer.separation import Separation, Unmemorizable
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from constructions.verdict import Evidence, Memorization, Verdict
from verify import certificate as write
from verify.certificate import Certificate
from verify.claims.claim import Case, CaseResult, Claim, Constant, Finding, Settings
from verify.falsifiers.unmemorizable_pair import FALSIFIER
from verify.instances import random_full_rank, random_layer
from verify.search import adversary

SLUG = "unmemorizable-pair"
RELATION = "no-prompt-memorizes"


def certificate(model: Transformer, proof: Unmemorizable) -> Certificate:
    """The certificate of a proof object, for a single-layer model."""
    instance = {"layer": write.layer(model), "queries": [write.query(query) for query in proof.queries]}
    witness: dict[str, Any]
    if proof.argument == "contradictory-data":
        witness = {"argument": proof.argument}
    elif proof.argument == "out-of-range":
        witness = {"argument": proof.argument, "preimage": preimage_proof(proof.preimages[0])}
    else:
        witness = {
            "argument": "separation",
            "preimages": [preimage_proof(found) for found in proof.preimages],
            "pairs": [[_separation(separation) for separation in line] for line in proof.pairs],
        }
    return Certificate(SLUG, RELATION, Evidence.EXACT, instance, witness)


def preimage_proof(found: Preimage) -> dict[str, Any]:
    if found.factor is not None:
        point = found.pieces[0].point
        assert point is not None
        return {"kind": "point", "z": write.vector(point), "factor": write.matrix(found.factor)}
    assert found.tree is not None
    return {"kind": "tree", "tree": _tree(found.tree)}


def _tree(tree: Tree) -> dict[str, Any]:
    if isinstance(tree, Branch):
        return {"unit": tree.unit, "active": _tree(tree.active), "inactive": _tree(tree.inactive)}
    if tree.multipliers is None:
        return {"leaf": "piece"}
    return {"leaf": "empty", "multipliers": write.vector(tree.multipliers)}


def _separation(separation: Separation) -> dict[str, Any]:
    return {
        "argument": separation.argument,
        "head": separation.head,
        "w": write.vector(separation.w),
        "multipliers": [None if m is None else write.vector(m) for m in separation.multipliers],
    }


def certify(pair: UnmemorizablePair, *, seed: int = 0, restarts: int = 4) -> CaseResult:
    """The certificate of a made pair, with the adversary's best loss beside it."""
    attack = adversary(pair.model, pair.data, restarts=restarts, seed=seed)
    d, m = pair.data.examples[0].X.shape
    return CaseResult(
        Verdict.PROVED,
        Evidence.EXACT,
        f"no prompt of any length memorizes both examples (d = {d}, {m} tokens each; {pair.proof.argument})",
        certificate(pair.model, pair.proof),
        {
            "adversary_best_loss": float(f"{attack.loss:.6g}"),
            "adversary_prompt_length": attack.prompt_length,
            "adversary_prompt": [[float(f"{x:.6g}") for x in row] for row in attack.prompt],
        },
    )


def _orthogonal() -> CaseResult:
    I = RationalMatrix.identity(4)
    layer = Layer(Attention((Head(I, I, I),)), FeedForward.none(4))
    return certify(orthogonal_pair(layer, [1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0]))


def _cone(seed: int, d: int, r: int, heads: int) -> CaseResult:
    rng = random.Random(f"{SLUG}/{seed}/{d}/{r}/{heads}")
    while True:
        layer = random_layer(rng, d, heads=heads, r=r, contractive=True)
        try:
            pair = unmemorizable_pair(layer)
        except NoPairError:
            continue  # heads that do not decouple: W_o columns dependent
        return replace(certify(pair, seed=seed), constants=_width(pair) if heads == 1 else ())


def _width(pair: UnmemorizablePair) -> tuple[Constant, ...]:
    """The width that the paper asks for, 2 + dim span of the shifted preimages, where each of them is one point."""
    points = [found.points for found in pair.proof.preimages]
    if any(each is None or len(each) != 1 for each in points):
        return ()
    shifted = [
        [z - x for z, x in zip(each[0], query.token, strict=True)]
        for each, query in zip(points, pair.proof.queries, strict=True)
        if each
    ]
    needed, d = 2 + RationalMatrix.of(shifted).rank(), pair.model.width
    if needed <= d:
        return ()
    stated = f"d ≥ 2 + dim span of the shifted preimages = {needed}"
    return (Constant("width for an unmemorizable pair", stated, f"d = {d}", f"{needed - d} less"),)


def _degenerate(construct: Callable[..., UnmemorizablePair]) -> CaseResult:
    """d = 2, shifted preimages (0,1) and (0,2), q = e_1 across them: the only w is ±e_1 ∥ q, and q·x_0 = 1 > W(1/e)."""
    I = RationalMatrix.identity(2)
    layer = Layer(Attention((Head(I, I, I),)), FeedForward.none(2))
    try:
        cone_pair(layer, [1, 0], [1, 1], [1, 2])
    except NoPairError as refusal:
        if not str(refusal).startswith("degenerate case"):
            raise
    else:
        return CaseResult(
            Verdict.REFUTED, Evidence.EXACT, "the degenerate case was not refused by the cone construction"
        )
    return certify(construct(layer, [1, 0], [1, 1], [1, 2]))


def _parallel() -> CaseResult:
    """d = 2, the same targets with q·x_0 = 1/8 < W(1/e): the cone exists, at κ = e^ρ ≠ 1."""
    I = RationalMatrix.identity(2)
    scale = RationalMatrix.of([["1/8", 0], [0, "1/8"]])
    layer = Layer(Attention((Head(scale, I, I),)), FeedForward.none(2))
    return certify(cone_pair(layer, [1, 0], [1, 1], [1, 2]))


def _several_preimages() -> CaseResult:
    """z ↦ z − 2 ReLU(z) in the first coordinate folds the line: targets below zero have two preimages."""
    I = RationalMatrix.identity(3)
    fold = FeedForward(
        RationalMatrix.of([[1, 0, 0]]),
        RationalMatrix.zeros(1, 1),
        RationalMatrix.of([[-2], [0], [0]]),
        RationalMatrix.zeros(3, 1),
    )
    layer = Layer(Attention((Head(I, I, I),)), fold)
    return certify(cone_pair(layer, [0, 0, 1], [-1, 1, 0], [-2, 0, 1]))


def _out_of_range() -> CaseResult:
    """The same fold never gives a positive first coordinate: a single example is unmemorizable by itself."""
    I = RationalMatrix.identity(2)
    fold = FeedForward(
        RationalMatrix.of([[1, 0]]),
        RationalMatrix.zeros(1, 1),
        RationalMatrix.of([[-2], [0]]),
        RationalMatrix.zeros(2, 1),
    )
    model = Transformer((Layer(Attention((Head(I, I, I),)), fold),))
    return _decided(
        model, Dataset((Example(RationalMatrix.of([[1, 0], [0, 1]]), column_vector([1, 0])),)), "out-of-range"
    )


def _decided(model: Transformer, data: Dataset, argument: str) -> CaseResult:
    """A dataset that nobody made for the purpose, decided by ``argument``."""
    decision = decide(model, data)
    if decision.verdict is not Memorization.UNMEMORIZABLE or decision.proof is None:
        return CaseResult(Verdict.UNDECIDED, Evidence.EXACT, decision.reason)
    if decision.argument != argument:
        return CaseResult(Verdict.UNDECIDED, Evidence.EXACT, f"expected {argument}, decided by {decision.argument}")
    return certify(UnmemorizablePair(model, data, decision.proof))


def _given_data() -> CaseResult:
    """Two inputs of three tokens with a shared last token and different targets, as a user would bring them."""
    I = RationalMatrix.identity(3)
    model = Transformer((Layer(Attention((Head(I, I, I),)), FeedForward.none(3)),))
    first = Example(RationalMatrix.of([[1, 2, 1], [0, 1, 0], [1, 0, 0]]), column_vector([1, -1, 2]))
    second = Example(RationalMatrix.of([[1, 0, 1], [1, -1, 0], [0, 1, 0]]), column_vector([2, 1, -1]))
    return _decided(model, Dataset((first, second)), "cone")


def _thorough(seed: int, d: int, k: int) -> CaseResult:
    rng = random.Random(f"{SLUG}/{seed}/thorough/{d}/{k}")
    layer = Layer(
        Attention((Head(*[random_full_rank(rng, d, d) for _ in range(4)]),)),
        random_layer(rng, d, r=3, contractive=False).mlp,
    )
    try:
        return certify(unmemorizable_pair(layer), seed=seed)
    except NoPairError as error:
        return CaseResult(Verdict.UNDECIDED, Evidence.EXACT, str(error))


def cases(settings: Settings) -> list[Case]:
    seed = settings.seed
    found = [
        Case("paper-orthogonal-d4", _orthogonal),
        Case("cone-d3-mlp4", partial(_cone, seed, 3, 4, 1)),
        Case("cone-d2-mlp2", partial(_cone, seed, 2, 2, 1)),
        Case("cone-d4-heads2", partial(_cone, seed, 4, 3, 2)),
        Case("cone-parallel-d2", _parallel),
        Case("closeness-degenerate-d2", partial(_degenerate, closeness_pair)),
        Case("cone-several-preimages", _several_preimages),
        Case("out-of-range", _out_of_range),
        Case("given-data", _given_data),
    ]
    if settings.thorough:
        found += [Case(f"random-d{d}-{k}", partial(_thorough, seed, d, k)) for d in (2, 3, 4, 6) for k in range(5)]
    return found


CLAIM = Claim(
    slug=SLUG,
    title="Unmemorizable pair",
    statement=(
        "For a single layer there are two examples with a shared last token that no prompt of any length memorizes "
        "at once."
    ),
    source="THEORY section 2; cf. Wang et al. 2023, Theorem 2 (cone in this form and closeness ours)",
    scope="no prompt of any length, for this layer and these examples",
    cases=cases,
    depends=("attention-split", "direction-lemma", "mlp-injectivity"),
    findings=(
        Finding(
            "d ≥ 2 + dim span of the shifted preimages is not needed, neither is orthogonality: "
            "d = 3 works with any injective MLP, d = 2 outside one degenerate case.",
            "cone-d2-mlp2",
        ),
        Finding(
            "Every pair of different targets in the range has an unmemorizable pair of distinct contexts.",
            "closeness-degenerate-d2",
        ),
        Finding("With several heads the cone argument has to be made head by head.", "cone-d4-heads2"),
    ),
    falsifier=FALSIFIER,
)
