"""Claim: what several heads, or heads smaller than the width, let a prompt do (THEORY section 3.3)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from typing import Any

from flint import fmpq

from constructions.data import Dataset, Example, Query
from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.decide_heads import HeadsAnswer, PeeledData, answer_heads
from constructions.single_layer.decide_several import log_bracket
from constructions.single_layer.heads_criterion import HeadsRefuted, HeadsSystem, NoOutput, refute_heads
from constructions.single_layer.mass_boxes import BoxTree
from constructions.single_layer.newton_prompt import ProvedPrompt
from constructions.single_layer.peeling import Stuck, peel
from constructions.single_layer.preimage import preimage
from constructions.single_layer.several_heads import HeadPairs, SeveralHeads
from constructions.single_layer.shared_queries import SharedSolution
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from constructions.verdict import Evidence, Undecided, Verdict
from verify import certificate as write
from verify.certificate import Certificate
from verify.claims.boxes import box_tree, prompt_witness
from verify.claims.claim import Case, CaseResult, Claim, Finding, Settings
from verify.claims.prompt_law import finite_preimage, single_layer_instance
from verify.falsifiers.several_heads import FALSIFIER
from verify.instances import random_head, random_matrix
from verify.search import adversary

SLUG = "several-heads"


def several_heads(model: Transformer, data: Dataset) -> SeveralHeads:
    """The queries of a single layer, pair by pair. Raises Undecided."""
    layer = model.layers[0]
    queries = list(data.queries(model))
    return SeveralHeads.of(layer, queries, [preimage(layer.mlp, query.target) for query in queries])


def _vectors(rows: Sequence[Sequence[fmpq]]) -> list[dict[str, Any]]:
    return [write.vector(row) for row in rows]


def peeled_certificate(model: Transformer, data: SeveralHeads, found: PeeledData) -> Certificate:
    """Some prompt memorizes: heights and directions of Theorem B."""
    witness = {
        "points": _vectors(data.points(found.choice)),
        "inputs": _vectors(found.inputs),
        "heights": write.vector(found.peeled.heights),
        "directions": write.matrix(RationalMatrix.of(found.peeled.directions)),
    }
    return Certificate(SLUG, "memorizable", Evidence.EXACT, _instance(model, data.queries, None), witness)


def shared_certificate(model: Transformer, data: SeveralHeads, found: SharedSolution) -> Certificate:
    """Some prompt memorizes, queries sharing logit vectors: Theorem C."""
    witness = {
        "points": _vectors(data.points(found.choice)),
        "inputs": _vectors(found.inputs),
        "equations": [None if e is None else [e.first, e.second, e.coordinate] for e in found.equations],
        "duals": [write.matrix(dual) for dual in found.duals],
    }
    return Certificate(SLUG, "memorizable-shared", Evidence.EXACT, _instance(model, data.queries, None), witness)


def refuted_certificate(model: Transformer, found: HeadsRefuted) -> Certificate:
    """No prompt (of at most ``found.length`` tokens) memorizes."""
    witness = {
        "preimages": [finite_preimage(each) for each in found.data.preimages],
        "log_length": None if found.length is None else [write.scalar(x) for x in log_bracket(found.length)],
        "combinations": [_argument(argument) for argument in found.arguments],
    }
    instance = _instance(model, found.data.queries, found.length)
    return Certificate(SLUG, "no-prompt-memorizes", Evidence.EXACT, instance, witness)


def _argument(argument: NoOutput | tuple[HeadsSystem, BoxTree]) -> dict[str, Any]:
    if isinstance(argument, NoOutput):
        return {"query": argument.query, "w": write.vector(argument.w)}
    system, tree = argument
    groups = len(system.data.pairs.groups)
    return box_tree(
        tree, system.forms, groups, system.length, lambda leaf: {"values": write.matrix(system.values(leaf))}
    )


def stuck_certificate(layer: Layer, tokens: RationalMatrix, found: Stuck) -> Certificate:
    """What no prompt can do to the heads of a layer at these tokens (d×n)."""
    instance = {
        "layer": write.layer(Transformer((layer,))),
        "tokens": write.matrix(tokens),
        "values": write.matrix(found.values),
    }
    return Certificate(SLUG, "stuck", Evidence.EXACT, instance, {"flow": write.matrix(found.flow)})


def prompt_certificate(
    model: Transformer, data: SeveralHeads, choice: Sequence[int], proved: ProvedPrompt
) -> Certificate:
    """An explicit prompt, proved by Krawczyk's test."""
    witness = {
        "points": _vectors(data.points(choice)),
        **prompt_witness(proved),
    }
    instance = _instance(model, data.queries, proved.length)
    return Certificate(SLUG, "prompt", Evidence.ENCLOSED, instance, witness)


def certificates(model: Transformer, answer: HeadsAnswer) -> list[tuple[str, Certificate]]:
    """The certificates of an answer with the endings of their file names, the one of the verdict first."""
    if answer.against is not None:
        return [("", refuted_certificate(model, answer.against))]
    assert answer.choice is not None
    found = []
    if answer.peeled is not None:
        found.append(peeled_certificate(model, answer.data, answer.peeled))
    if answer.shared is not None:
        found.append(shared_certificate(model, answer.data, answer.shared))
    if answer.proved is not None:
        found.insert(0, prompt_certificate(model, answer.data, answer.choice, answer.proved))
    return list(zip(("", "-any-length"), found, strict=False))


def _instance(model: Transformer, queries: Sequence[Query], length: int | None) -> dict[str, Any]:
    return single_layer_instance(model, queries, length)


# -- cases ----------------------------------------------------------------------------------------------------------


def random_layer(rng: random.Random, d: int, s: int, h: int) -> Transformer:
    """h heads of size s with moderate random weights, no MLP."""
    heads = []
    for _ in range(h):
        head = random_head(rng, d, s)
        heads.append(Head(head.W_q.scaled("1/4"), head.W_k.scaled("1/2"), head.W_v.scaled("1/2"), head.W_o))
    return Transformer((Layer(Attention(tuple(heads)), FeedForward.none(d)),))


def random_data(rng: random.Random, model: Transformer, n: int, *, shared: bool) -> Dataset:
    """n examples of three tokens with random targets; the last tokens are equal if ``shared``."""
    d = model.width
    last = random_matrix(rng, d, 1, size=4, denominator=2)
    examples = []
    for _ in range(n):
        context = random_matrix(rng, d, 2, size=4, denominator=2)
        token = last if shared else random_matrix(rng, d, 1, size=4, denominator=2)
        examples.append(Example(context.hstack(token), random_matrix(rng, d, 1, size=4, denominator=2)))
    return Dataset(tuple(examples))


def in_range(model: Transformer, data: Dataset) -> Dataset:
    """The data with each target moved to ``token + Σ_j V_j target``, which the heads can give."""
    examples = []
    for example in data.examples:
        total = example.X.columns(example.X.shape[1] - 1, example.X.shape[1])
        for head in model.layers[0].attention.heads:
            total = RationalMatrix(total.mat + head.V.times(example.targets).mat)
        examples.append(Example(example.X, total))
    return Dataset(tuple(examples))


def stuck_layer() -> tuple[Layer, RationalMatrix]:
    """Two heads of size 1 and two tokens whose logit vectors ±(1/2, 1) and ±(1, 1/2) cannot be peeled, as head 0 does
    not see the first coordinate and head 1 not the second; each head alone can be."""
    R = RationalMatrix.of
    first = Head(R([[1, 0]]), R([["1/2", 1]]), R([[0, 1]]), R([[1], [0]]))
    second = Head(R([[1, 0]]), R([[1, "1/2"]]), R([[1, 0]]), R([[0], [1]]))
    return Layer(Attention((first, second)), FeedForward.none(2)), R([[1, -1], [0, 0]])


def stuck_data() -> tuple[Transformer, Dataset]:
    """Targets for the stuck layer that ask its heads for η, which no prompt gives."""
    layer, tokens = stuck_layer()
    pairs = HeadPairs.of(layer.attention.heads, tokens)
    found = peel(pairs)
    assert isinstance(found, Stuck)
    assert pairs.projections is not None
    examples = []
    for i in range(2):
        outputs = [pairs.projections[j].apply(found.values.rows()[2 * i + j]) for j in range(2)]
        token = tokens.column(i)
        target = [sum(column, x) for *column, x in zip(*outputs, token, strict=True)]
        context = RationalMatrix.of_columns([[fmpq(2), fmpq(1)], token])
        examples.append(Example(context, RationalMatrix.of_columns([target])))
    return Transformer((layer,)), Dataset(tuple(examples))


def _stuck_flow() -> CaseResult:
    layer, tokens = stuck_layer()
    found = peel(HeadPairs.of(layer.attention.heads, tokens))
    if not isinstance(found, Stuck):
        return CaseResult(Verdict.UNDECIDED, Evidence.EXACT, "expected a layer that cannot be peeled")
    summary = "two tokens, two heads: a half-space of head outputs is out of reach of every prompt"
    return CaseResult(Verdict.PROVED, Evidence.EXACT, summary, stuck_certificate(layer, tokens, found))


def _refuted(model: Transformer, data: Dataset, seed: int, what: str) -> CaseResult:
    try:
        found = refute_heads(several_heads(model, data))
    except Undecided as reason:
        return CaseResult(Verdict.UNDECIDED, Evidence.EXACT, str(reason))
    attack = adversary(model, data, lengths=(4, 16), restarts=2, seed=seed, max_iterations=300)
    measured = {"adversary_best_loss": float(f"{attack.loss:.6g}"), "adversary_prompt_length": attack.prompt_length}
    summary = f"{what}: no prompt of any length memorizes them"
    return CaseResult(Verdict.PROVED, Evidence.EXACT, summary, refuted_certificate(model, found), measured)


def _shared(d: int, s: int, h: int, seed: int) -> CaseResult:
    rng = random.Random(f"{SLUG}/shared/{seed}/{d}/{s}/{h}")
    model = random_layer(rng, d, s, h)
    return _refuted(model, random_data(rng, model, 2, shared=True), seed, f"two examples, shared token, {h} heads")


def _memorizable(d: int, s: int, h: int, n: int, seed: int, explicit: bool) -> CaseResult:
    rng = random.Random(f"{SLUG}/distinct/{seed}/{d}/{s}/{h}/{n}")
    model = random_layer(rng, d, s, h)
    data = several_heads(model, in_range(model, random_data(rng, model, n, shared=False)))
    try:
        answer = answer_heads(data, explicit=explicit, seed=seed)
    except Undecided as reason:
        return CaseResult(Verdict.UNDECIDED, Evidence.EXACT, str(reason))
    what = f"{n} examples, d = {d}, head size {s}, heads: {h}"
    if answer.peeled is None:
        return CaseResult(Verdict.UNDECIDED, Evidence.EXACT, f"{what}: expected distinct logit vectors that peel")
    if answer.proved is not None and answer.choice is not None:
        certificate = prompt_certificate(model, data, answer.choice, answer.proved)
        summary = f"{what}: an exact prompt of {answer.proved.length} tokens lies within 2^-60 of the printed one"
        return CaseResult(Verdict.PROVED, Evidence.ENCLOSED, summary, certificate)
    if explicit:
        return CaseResult(Verdict.UNDECIDED, Evidence.ENCLOSED, f"{what}: no explicit prompt was found")
    summary = f"{what}: some prompt memorizes them"
    measured = {}
    if answer.clusters is not None:
        measured["log10_length_of_cluster_prompt"] = float(f"{answer.clusters.log10_length:.6g}")
    return CaseResult(Verdict.PROVED, Evidence.EXACT, summary, peeled_certificate(model, data, answer.peeled), measured)


def shared_but_memorizable() -> tuple[Transformer, Dataset]:
    """One head of size 2 in width 4, two examples that share their last token, and one that does not: the shared pair
    solves its equations at mass 3 − e."""
    R = RationalMatrix.of
    score, value = [[1, 0, 0, 0], [0, 1, 0, 0]], [[0, 0, 1, 0], [0, 0, 0, 1]]
    head = Head(R(score), R(score), R(value), R(value).T)
    layer = Layer(Attention((head,)), FeedForward.none(4))
    # S = 1 + e for both, B = 4 and 0 in the third coordinate: s (2 − 1) = (4 − 2 S) − (0 − S).
    first = Example(R([[0, 1], [0, 0], [4, 0], [0, 0]]), R([[1], [0], [2], [0]]))
    second = Example(R([[0, 1], [0, 0], [0, 0], [0, 0]]), R([[1], [0], [1], [0]]))
    other = Example(R([[0, 0], [0, 1], [1, 3], [2, 0]]), R([[0], [1], [5], [7]]))
    return Transformer((layer,)), Dataset((first, second, other))


def _shared_memorizable() -> CaseResult:
    model, data = shared_but_memorizable()
    pairs = several_heads(model, data)
    answer = answer_heads(pairs)
    if answer.shared is None:
        return CaseResult(Verdict.UNDECIDED, Evidence.EXACT, "expected data that Theorem C shows memorizable")
    summary = "three examples, two of them with one last token: some prompt memorizes them"
    return CaseResult(Verdict.PROVED, Evidence.EXACT, summary, shared_certificate(model, pairs, answer.shared))


def cases(settings: Settings) -> list[Case]:
    seed = settings.seed
    model, data = stuck_data()
    found = [
        Case("stuck-layer", _stuck_flow),
        Case("stuck-data", partial(_refuted, model, data, seed, "two examples, two heads that cannot be peeled")),
        Case("shared-but-memorizable", _shared_memorizable),
        Case("one-small-head-d4-n8", partial(_memorizable, 4, 2, 1, 8, seed, False)),
        Case("two-heads-d4-n4", partial(_memorizable, 4, 2, 2, 4, seed, False)),
        Case("two-heads-d4-n2-prompt", partial(_memorizable, 4, 2, 2, 2, seed, True)),
        Case("shared-query-d4-h2", partial(_shared, 4, 2, 2, seed)),
    ]
    if settings.thorough:
        for n in (2, 3, 5, 6):
            found.append(Case(f"two-heads-d6-n{n}", partial(_memorizable, 6, 3, 2, n, seed, False)))
        for d, s, h in ((6, 3, 2), (6, 2, 3), (8, 4, 2)):
            found.append(Case(f"shared-query-d{d}-h{h}", partial(_shared, d, s, h, seed)))
    return found


CLAIM = Claim(
    slug=SLUG,
    title="Small and several heads",
    statement=(
        "If all pairs of a query and a head can be peeled off one by one, a prompt memorizes every dataset in range; "
        "if not, an open set of targets is out of reach. A shared last token with two heads that do not overlap is "
        "generically unmemorizable from head size 2 on."
    ),
    source="THEORY section 3.3 (ours)",
    scope="that some prompt memorizes these data, or that none does, or an explicit prompt",
    cases=cases,
    depends=("several-queries",),
    findings=(
        Finding(
            "With heads smaller than the width, distinct last tokens are hardly an obstacle.", "one-small-head-d4-n8"
        ),
        Finding("Two heads can block each other: distinct queries, and yet targets out of reach.", "stuck-data"),
    ),
    falsifier=FALSIFIER,
)
