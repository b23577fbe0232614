"""Decisions end to end, on data of which something is known; the kernel is asked about every certificate."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from flint import fmpq
from head_instances import (
    blind_data,
    crossed_layer,
    fold,
    in_range,
    layer_with,
    met_by,
    pairs_of,
    random_model,
    random_tokens,
)
from hypothesis import example, given
from hypothesis import strategies as st
from layer_instances import judged

from constructions.data import Dataset, Example
from constructions.numbers.rational import RationalMatrix, column_vector
from constructions.single_layer.decide import Decision, decide
from constructions.single_layer.decide_heads import memorized
from constructions.single_layer.heads_criterion import refute_heads
from constructions.single_layer.peeling import Peeled, peel
from constructions.single_layer.preimage import preimage
from constructions.single_layer.several_heads import HeadPairs
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from constructions.verdict import Memorization, Undecided
from verify.certificate import Certificate, canonical
from verify.claims.several_heads import (
    refuted_certificate,
    shared_but_memorizable,
    stuck_certificate,
    stuck_data,
)
from verify.commands.certificates import decision_certificates
from verify.instances import random_mlp
from verify.kernel_process import accepted

YES, NO, OPEN = Memorization.MEMORIZABLE, Memorization.UNMEMORIZABLE, Memorization.UNDECIDED


def demand_true(certificate: Certificate) -> None:
    verdict, sentence = judged(canonical(certificate.document()) + "\n")
    assert verdict == "true", sentence


def decided(
    model: Transformer, data: Dataset, length: int | None = None, *, explicit: bool = False
) -> tuple[Decision, list[Certificate]]:
    """The decision, with its certificates, all of them true; a decision has at least one."""
    decision = decide(model, data, length, explicit=explicit)
    certificates = [certificate for _, certificate in decision_certificates(model, decision, length)]
    for certificate in certificates:
        demand_true(certificate)
    assert bool(certificates) == (decision.verdict is not OPEN)
    return decision, certificates


def met(
    seed: object, d: int, s: int, h: int, n: int, m: int = 4, mlp: FeedForward | None = None
) -> tuple[Transformer, Dataset]:
    rng = random.Random(f"met/{seed}/{d}/{s}/{h}/{n}")
    model = random_model(rng, d, s, h, mlp)
    return model, met_by(model, [random_tokens(rng, d, 2) for _ in range(n)], random_tokens(rng, d, m))


# --- data that a prompt meets ----------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(2, 4), st.integers(1, 2), st.integers(1, 3), st.integers(1, 3))
@example(2, 2, 1, 2, 1)  # stuck, found by the search
@example(1, 3, 2, 2, 2)
@example(0, 4, 2, 2, 3)
@example(1, 3, 1, 2, 2)  # two pairs share a logit vector by chance
def test_what_a_prompt_gives_is_never_unmemorizable(seed: int, d: int, s: int, h: int, n: int) -> None:
    """Targets of a prompt of four tokens, rounded within the range: peelable pairs make them memorizable. (Shared
    vectors aside: there rounding spoils the equations.)"""
    model, data = met(seed, d, s, h, n)
    pairs = pairs_of(model, data)
    if not pairs.pairs.distinct:
        return
    found = peel(pairs.pairs)
    if isinstance(found, Peeled):
        decision, certificates = decided(model, data)
        assert decision.verdict is YES
        if h > 1:
            assert decision.argument == "peeling"
            assert [c.relation for c in certificates] == ["memorizable"]
    else:
        with pytest.raises(Undecided):
            refute_heads(pairs, max_nodes=60)


@pytest.mark.parametrize(
    ("seed", "d", "s", "h", "n"), [(2, 2, 1, 2, 1), (0, 3, 2, 2, 2), (0, 2, 2, 2, 1), (1, 2, 2, 2, 2), (2, 2, 2, 2, 2)]
)
def test_prompts_are_found_where_nothing_peels(seed: int, d: int, s: int, h: int, n: int) -> None:
    """The heads are blind nowhere, or block each other; the search shows these data memorizable all the same."""
    rng = random.Random(f"ex/{seed}/{d}{s}{h}{n}")
    model = random_model(rng, d, s, h)
    data = met_by(model, [random_tokens(rng, d, 2) for _ in range(n)], random_tokens(rng, d, 4))
    assert memorized(pairs_of(model, data)) is None
    decision, certificates = decided(model, data)
    assert (decision.verdict, decision.argument) == (YES, "several-heads")
    assert [c.relation for c in certificates] == ["prompt"]
    assert decision.infimum == "zero"


@pytest.mark.parametrize("n", range(2, 9))
@pytest.mark.parametrize("s", [1, 2])
def test_one_small_head_memorizes_any_number_of_queries(n: int, s: int) -> None:
    """Theorem A: logit vectors in the span of the two coordinates that the head is blind for, all different."""
    rng = random.Random(f"small/{n}/{s}")
    d = s + 2
    unit = RationalMatrix.identity(d).rows()
    value = RationalMatrix.of(unit[2:])  # the first two coordinates are not seen
    W_q = RationalMatrix.of([[fmpq(rng.randint(-3, 3)) for _ in range(2)] + unit[2 + i][2:] for i in range(s)])
    W_k = RationalMatrix.of([[rng.randint(1, 3), rng.randint(1, 3), *[0] * s] for _ in range(s)])
    model = Transformer((Layer(Attention((Head(W_q, W_k, value, value.T),)), FeedForward.none(d)),))
    for _ in range(20):
        inputs = [random_tokens(rng, d, 2) for _ in range(n)]
        data = in_range(model, inputs, rng)
        if pairs_of(model, data).pairs.distinct:
            break
    decision, _ = decided(model, data)
    assert (decision.verdict, decision.argument) == (YES, "peeling")
    assert decision.heads is not None
    assert decision.heads.clusters is not None


# --- shared tokens ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("d", "s", "h"), [(4, 2, 2), (6, 3, 2), (6, 2, 3)])
@pytest.mark.parametrize("seed", range(3))
def test_a_shared_token_and_independent_heads(seed: int, d: int, s: int, h: int) -> None:
    """Two examples: generic data are unmemorizable, by a pair argument and by the criterion of several heads."""
    rng = random.Random(f"sh/{seed}/{d}{s}{h}2")
    model, x = random_model(rng, d, s, h), random_tokens(rng, d, 1)
    data = in_range(model, [random_tokens(rng, d, 2).hstack(x) for _ in range(2)], rng)
    decision, certificates = decided(model, data)
    assert decision.verdict is NO
    assert decision.argument in ("cone", "closeness")
    assert [c.relation for c in certificates] == ["no-prompt-memorizes"]
    demand_true(refuted_certificate(model, refute_heads(pairs_of(model, data))))


@pytest.mark.parametrize("seed", range(4))
def test_overlapping_heads(seed: int) -> None:
    """[W_o] has no inverse: two heads of size 2 in width 3. Distinct queries may peel; with a shared token whatever is
    decided is certified."""
    rng = random.Random(f"overlap/{seed}")
    model, x = random_model(rng, 3, 2, 2), random_tokens(rng, 3, 1)
    assert pairs_of(model, in_range(model, [x], rng)).pairs.projections is None
    shared = in_range(model, [random_tokens(rng, 3, 1).hstack(x) for _ in range(2)], rng)
    decided(model, shared)
    P = random_tokens(rng, 3, 3)
    alone, _ = decided(model, met_by(model, [random_tokens(rng, 3, 2)], P))
    assert alone.verdict is YES


@pytest.mark.parametrize("h", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_theorem_c_both_ways(h: int, seed: int) -> None:
    """Singular V, some queries sharing their logit vectors: memorizable with a positive mass, and with any mass;
    unmemorizable with a negative one, and with two different ones."""
    rng = random.Random(f"theorem c/{h}/{seed}")
    ids = [(1, 0), (1, 0), (0, 1)]
    model, data = blind_data(rng, h, ids, fmpq(rng.randint(1, 9), 2))
    decision, certificates = decided(model, data)
    assert (decision.verdict, decision.argument) == (YES, "several-heads")
    assert [c.relation for c in certificates] == ["memorizable-shared"]
    equations = certificates[0].witness["equations"]
    assert any(e is not None for e in equations)
    assert any(e is None for e in equations)

    model, data = blind_data(rng, h, ids, fmpq(3), free=True)
    decision, certificates = decided(model, data)
    assert (decision.verdict, decision.argument) == (YES, "several-heads")
    assert certificates[0].witness["equations"] == [None] * 2 * h

    for mass in (fmpq(-1), fmpq(-9)):
        model, data = blind_data(rng, h, ids, mass)
        assert memorized(pairs_of(model, data)) is None
        assert decided(model, data)[0].verdict is NO

    model, data = blind_data(rng, h, ids, fmpq(5, 2))
    targets = data.examples[0].targets.column(0)
    targets[0] += 1
    first = Example(data.examples[0].X, column_vector(targets))
    model_data = Dataset((first, *data.examples[1:]))
    assert memorized(pairs_of(model, model_data)) is None
    assert decided(model, model_data)[0].verdict is NO


def test_the_example_of_the_claim() -> None:
    model, data = shared_but_memorizable()
    decision, certificates = decided(model, data)
    assert (decision.verdict, decision.argument) == (YES, "several-heads")
    assert certificates[0].witness["equations"] == [[0, 1, 2], None]


# --- out of reach ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_targets_that_no_heads_give(seed: int) -> None:
    """Off the sum of the ranges: w is orthogonal to all heads. One head says so by the prompt law."""
    model, data = met(seed, 4, 1, 2, 2)
    pairs = pairs_of(model, data)
    normal = RationalMatrix.of([row for V in pairs.pairs.V for row in V.T.rows()]).nullspace()[0]
    for off in (fmpq(5), fmpq(1, 10**12)):
        moved = data.examples[1].targets + column_vector([off * x for x in normal])
        changed = Dataset((data.examples[0], Example(data.examples[1].X, moved)))  # type: ignore[arg-type]
        decision, certificates = decided(model, changed)
        assert (decision.verdict, decision.argument) == (NO, "several-heads")
        (argument,) = certificates[0].witness["combinations"]
        assert set(argument) == {"query", "w"}
        assert argument["query"] == 1


@pytest.mark.parametrize("length", [None, 1, 5])
def test_what_is_stuck_is_refuted_and_its_opposite_is_not(length: int | None) -> None:
    model, data = stuck_data()
    decision, certificates = decided(model, data, length)
    assert (decision.verdict, decision.argument) == (NO, "several-heads")
    assert [c.relation for c in certificates] == ["no-prompt-memorizes"]
    opposite = []
    for e in data.examples:
        x = e.X.column(e.X.shape[1] - 1)
        target = [2 * a - y for a, y in zip(x, e.targets.column(0), strict=True)]
        opposite.append(Example(e.X, column_vector(target)))
    decision, certificates = decided(model, Dataset(tuple(opposite)))
    assert decision.verdict is YES
    assert [c.relation for c in certificates] == ["prompt"]


# --- queries -----------------------------------------------------------------------------------------------------


def test_a_query_asked_twice_is_taken_once() -> None:
    model, data = met("twice", 4, 2, 2, 2)
    twice = Dataset((*data.examples, data.examples[0], data.examples[0]))
    once, certificates = decided(model, data)
    again, same = decided(model, twice)
    assert (once.verdict, once.argument) == (again.verdict, again.argument) == (YES, "peeling")
    assert canonical(certificates[0].document()) == canonical(same[0].document())


def test_one_query_with_two_targets() -> None:
    """Another example contradicts: also where the rest would be memorizable."""
    model, data = met("contradiction", 4, 2, 2, 2)
    first = data.examples[0]
    other = Example(first.X, column_vector([x + 1 for x in first.targets.column(0)]))
    decision, _ = decided(model, Dataset((*data.examples, other)))
    assert (decision.verdict, decision.argument) == (NO, "contradictory-data")


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("seed", "d", "s", "h", "m"), [(1, 4, 2, 2, 3), (2, 3, 1, 2, 2), (3, 4, 1, 2, 4), (4, 4, 2, 1, 4)]
)
def test_targets_for_all_columns(seed: int, d: int, s: int, h: int, m: int, causal: bool) -> None:
    """m queries in one X; with a mask each sees what is before it."""
    rng = random.Random(f"columns/{seed}")
    plain = random_model(rng, d, s, h).layers[0]
    model = Transformer((Layer(Attention(plain.attention.heads, causal=causal), plain.mlp),))
    data = met_by(model, [random_tokens(rng, d, m)], random_tokens(rng, d, 5), every=True)
    pairs = pairs_of(model, data)
    assert [query.context.shape[1] for query in pairs.queries] == [k + 1 if causal else m for k in range(m)]
    decision, certificates = decided(model, data)
    expected = pairs.pairs.distinct and isinstance(peel(pairs.pairs), Peeled)
    assert (decision.verdict is YES) or not expected
    assert decision.verdict is not NO
    if certificates:
        assert len(certificates[0].instance["queries"]) == m
        assert certificates[0].instance["layer"]["causal"] is causal


@pytest.mark.parametrize("causal", [False, True])
def test_one_token_in_two_columns(causal: bool) -> None:
    """Without a mask both are one query; with it they see different contexts and share their logit vectors."""
    rng = random.Random("two columns")
    plain = random_model(rng, 4, 2, 2).layers[0]
    model = Transformer((Layer(Attention(plain.attention.heads, causal=causal), plain.mlp),))
    x, y = random_tokens(rng, 4, 1), random_tokens(rng, 4, 1)
    data = met_by(model, [x.hstack(y).hstack(x)], random_tokens(rng, 4, 4), every=True)
    pairs = pairs_of(model, data)
    assert len(pairs.queries) == (3 if causal else 2)
    decision, _ = decided(model, data)
    if causal:
        assert not pairs.pairs.distinct
        assert decision.verdict is NO  # rounded: no mass solves both equations exactly
    else:
        assert (decision.verdict, decision.argument) == (YES, "peeling")


# --- preimages -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_contractive_mlps_are_undone(seed: int) -> None:
    mlp = random_mlp(random.Random(f"mlp/{seed}"), 4, 3, contractive=True)
    decision, certificates = decided(*met(seed, 4, 2, 2, 2, mlp=mlp))
    assert (decision.verdict, decision.argument) == (YES, "peeling")
    assert len(certificates[0].witness["points"]) == 2


@pytest.mark.parametrize("shifts", [(1, 0), (6, 0), (1, 7)])
def test_the_preimage_that_is_in_range_is_chosen(shifts: tuple[int, int]) -> None:
    """A layer that folds a coordinate which no head gives: one of the two preimages of each target is out of reach, and
    if both are, each combination is refuted by a vector. Tokens are before or behind the fold."""
    layer, tokens = layer_with(
        [[[0, 0, 1], [0, 1, 2]], [[0, 2, 4], [0, 3, 3]]], [[[0, 0, 0], [0, 1, 0], [0, 0, 0]]] * 2
    )
    model = Transformer((Layer(layer.attention, fold(3)),))
    examples = []
    for i, shift in enumerate(shifts):
        x = tokens.column(i)
        # no logit vector depends on the last coordinate; the first is what is folded
        x[0] += shift - int(i == 0)
        z = column_vector([x[0], x[1] + 2, x[2]])
        examples.append(Example(column_vector(x), model.layers[0].mlp(z)))  # type: ignore[arg-type]
    data = Dataset(tuple(examples))
    pairs = pairs_of(model, data)
    assert [len(p.pieces) for p in pairs.preimages] == [2, 2]
    found = memorized(pairs)
    assert found is not None
    assert [point[0] for point in pairs.points(found.choice)] == [e.X[0, 0] for e in examples]
    assert decided(model, data)[0].argument == "peeling"
    off = examples[0].targets.column(0)
    off[2] += 1
    changed = Dataset((Example(examples[0].X, column_vector(off)), examples[1]))
    decision, certificates = decided(model, changed)
    assert decision.verdict is NO
    arguments = certificates[0].witness["combinations"]
    assert len(arguments) == 4
    assert all("query" in argument for argument in arguments)


def test_two_preimages_both_refuted_by_trees() -> None:
    """The crossed layer behind a fold: every combination asks for more than it can give, far columns in the contexts
    seeing to it that it stays so at all masses."""
    layer, tokens = crossed_layer()
    model = Transformer((Layer(layer.attention, fold(2, at=10)),))
    examples = []
    for i, sign in ((0, -1), (1, 1)):
        x = tokens.column(i)
        far = [[fmpq(0), fmpq(-50 * sign)], x]
        z = column_vector([a + 30 * sign * b for a, b in zip(x, (1, 1), strict=True)])
        examples.append(Example(RationalMatrix.of_columns(far), model.layers[0].mlp(z)))  # type: ignore[arg-type]
    data = Dataset(tuple(examples))
    pairs = pairs_of(model, data)
    assert [len(preimage(model.layers[0].mlp, q.target).pieces) for q in pairs.queries] == [2, 2]
    decision, certificates = decided(model, data)
    assert decision.verdict is NO
    assert len(certificates[0].witness["combinations"]) == 4


def test_targets_that_the_mlp_does_not_have() -> None:
    model, data = met("no preimage", 4, 2, 2, 2, mlp=fold(4, at=0))
    target = [fmpq(1), *data.examples[0].targets.column(0)[1:]]
    changed = Dataset((Example(data.examples[0].X, column_vector(target)), data.examples[1]))
    decision, _ = decided(model, changed)
    assert (decision.verdict, decision.argument) == (NO, "out-of-range")


# --- lengths ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seed", "d", "s", "h", "n"), [(0, 2, 1, 2, 1), (2, 2, 2, 2, 1), (3, 4, 2, 2, 1), (5, 3, 1, 3, 1)]
)
def test_prompt_lengths(seed: int, d: int, s: int, h: int, n: int) -> None:
    """A prompt of m tokens that meets the targets, more tokens than equations need: with m tokens never unmemorizable;
    what is found is not longer than asked, and memorizable by fewer implies memorizable by more."""
    m = n + 2
    model, data = met(seed, d, s, h, n, m)
    verdicts = []
    for length in (1, m, m + 3):
        decision, certificates = decided(model, data, length)
        verdicts.append(decision.verdict)
        if decision.verdict is YES:
            assert certificates[0].relation == "prompt"
            assert certificates[0].instance["length"] <= length
            assert decision.heads is not None
            assert decision.heads.proved is not None
            assert decision.heads.proved.length <= length
        elif decision.verdict is NO:
            assert certificates[0].instance["length"] == length
    assert verdicts[1] is not NO
    assert verdicts[2] is not NO
    assert not (YES in verdicts and NO in verdicts[verdicts.index(YES) :])
    assert verdicts[2] is YES


@pytest.mark.parametrize(("output", "needed"), [(0, 8), (-1, 41), (1, 1)])
def test_the_least_length_of_two_heads_that_do_not_mix(output: int, needed: int) -> None:
    """Head j sees and scores coordinate j alone: the prompt law of one query bounds the length, by e·e·(1 − o)·e^{−o},
    rounded up, for the first head (S = e, A = 1), by 1 for the second (o = A = 0)."""
    layer, x = layer_with([[[1, 0], [0, 1]]], [[[1, 0], [0, 0]], [[0, 0], [0, 1]]])
    model = Transformer((layer,))
    data = Dataset((Example(x, column_vector([output + 1, 0])),))
    pairs = pairs_of(model, data)
    assert decided(model, data)[0].verdict is YES
    for length in {1, needed // 2, needed - 1} - {0}:
        if length < needed:
            found = refute_heads(pairs, length)
            assert found.length == length
            demand_true(refuted_certificate(model, found))
    with pytest.raises(Undecided):
        refute_heads(pairs, needed)


def test_a_length_that_is_too_short_for_two_heads() -> None:
    """One token, where eight are needed: refuted with the length in the certificate."""
    layer, x = layer_with([[[1, 0], [0, 1]]], [[[1, 0], [0, 0]], [[0, 0], [0, 1]]])
    data = Dataset((Example(x, column_vector([1, 0])),))
    decision, certificates = decided(Transformer((layer,)), data, 1)
    assert (decision.verdict, decision.argument) == (NO, "several-heads")
    assert certificates[0].instance["length"] == 1


def test_explicit_prompts_beside_peeling() -> None:
    """`--prompt`: the prompt's certificate first, and the one of any length."""
    model, data = met("explicit", 4, 2, 2, 2)
    decision, certificates = decided(model, data, explicit=True)
    assert (decision.verdict, decision.argument) == (YES, "peeling")
    assert [c.relation for c in certificates] == ["prompt", "memorizable"]


# --- the kernel's own process ------------------------------------------------------------------------------------


def test_certificates_of_all_relations_are_accepted(tmp_path: Path) -> None:
    rng = random.Random("all relations")
    certificates = [
        *decided(*met("explicit", 4, 2, 2, 2), explicit=True)[1],
        *decided(*blind_data(rng, 2, [(1, 0), (1, 0)], fmpq(2)))[1],
        *decided(*stuck_data())[1],
    ]
    layer, tokens = crossed_layer()
    found = peel(HeadPairs.of(layer.attention.heads, tokens))
    certificates.append(stuck_certificate(layer, tokens, found))  # type: ignore[arg-type]
    relations = [c.relation for c in certificates]
    assert relations == ["prompt", "memorizable", "memorizable-shared", "no-prompt-memorizes", "stuck"]
    paths = []
    for k, certificate in enumerate(certificates):
        paths.append(tmp_path / f"{k}.json")
        certificate.write(paths[-1])
    assert len(accepted(paths)) == 5
