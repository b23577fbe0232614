"""Certificates of decisions changed in one place, so that they fail: the kernel rejects them, and says why."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from functools import cache
from itertools import combinations
from typing import Any

import pytest
from flint import fmpq
from head_instances import (
    blind_data,
    crossed_layer,
    in_range,
    layer_with,
    met_by,
    pairs_of,
    random_model,
    random_tokens,
)
from layer_instances import judged

from constructions.data import Dataset, Example
from constructions.numbers.rational import RationalMatrix, column_vector
from constructions.single_layer.decide_heads import answer_heads
from constructions.single_layer.heads_criterion import refute_heads
from constructions.single_layer.peeling import Stuck, holds, peel, star
from constructions.single_layer.preimage import preimage
from constructions.single_layer.several_heads import HeadPairs
from constructions.transformer import Transformer
from verify import certificate as write
from verify.certificate import Certificate, canonical, seal
from verify.claims.prompt_law import finite_preimage
from verify.claims.several_heads import (
    certificates,
    prompt_certificate,
    refuted_certificate,
    shared_but_memorizable,
    stuck_certificate,
    stuck_data,
)

Json = Any


def verdict(document: Json) -> str:
    return judged(canonical(seal(document)) + "\n")[0]


def edited(document: Json, change: Callable[[Json], None]) -> Json:
    """A copy with its witness or instance changed in place."""
    result = copy.deepcopy(document)
    change(result)
    return result


def exchanged(items: list[Json], i: int, j: int) -> None:
    items[i], items[j] = items[j], items[i]


def numbers(value: Json) -> Any:
    """A vector or matrix as lists of fractions."""
    den = whole(value["den"])

    def over(num: Json) -> Any:
        return [over(x) for x in num] if isinstance(num, list) else fmpq(whole(num), den)

    return over(value["num"])


def put(value: Json, new: Any) -> None:
    """Writes a vector or matrix in place of another."""
    value.update(write.matrix(RationalMatrix.of(new)) if isinstance(new[0], list) else write.vector(new))


def times(value: Json, factor: object) -> None:
    """All entries times a number."""
    f = fmpq(factor)  # type: ignore[arg-type]
    put(value, [[f * x for x in row] if isinstance(row, list) else f * row for row in numbers(value)])


def add_to(value: Json, step: list[Any]) -> None:
    """Adds to the first entries of a vector."""
    old = numbers(value)
    put(value, [x + (step[i] if i < len(step) else 0) for i, x in enumerate(old)])


def add_at(value: Json, row: int, column: int, step: object = 1) -> None:
    """Adds to one entry of a matrix."""
    old = numbers(value)
    old[row][column] += step
    put(value, old)


def times_row(value: Json, row: int, factor: int) -> None:
    """One row of a matrix times a number."""
    old = numbers(value)
    old[row] = [factor * x for x in old[row]]
    put(value, old)


def whole(value: Json) -> int:
    return int(value, 16) if isinstance(value, str) else int(value)


# --- peeling ---------------------------------------------------------------------------------------------------------


@cache
def peelings() -> list[tuple[HeadPairs, Json, Any]]:
    found = []
    for seed, (d, s, h, n) in enumerate([(4, 2, 2, 2), (3, 1, 2, 2), (4, 2, 1, 4), (4, 1, 3, 2), (5, 2, 2, 3)]):
        rng = random.Random(f"peelings/{seed}")
        model = random_model(rng, d, s, h)
        data = pairs_of(model, in_range(model, [random_tokens(rng, d, 2) for _ in range(n)], rng))
        answer = answer_heads(data)
        assert answer.peeled is not None
        ((_, certificate),) = certificates(model, answer)
        found.append((data.pairs, certificate.document(), answer.peeled))
    return found


def test_directions_or_heights_exchanged_are_rejected() -> None:
    """Two of them: accepted exactly if (*) holds all the same."""
    seen = {"true": 0, "false": 0}
    for pairs, document, found in peelings():
        assert verdict(document) == "true"
        heights, directions = list(found.peeled.heights), list(found.peeled.directions)
        for i, j in combinations(range(len(pairs)), 2):
            for values, field in ((heights, "heights"), (directions, "directions")):
                swapped = list(values)
                swapped[i], swapped[j] = swapped[j], swapped[i]
                arguments = (swapped, directions) if field == "heights" else (heights, swapped)
                expected = "true" if holds(pairs, *arguments) else "false"
                change = edited(document, lambda new: exchanged(new["witness"][field]["num"], i, j))  # noqa: B023
                assert verdict(change) == expected
                seen[expected] += 1
    assert min(seen.values()) >= 3, seen


def test_inputs_points_and_targets_changed_are_rejected() -> None:
    for pairs, document, _ in peelings():
        h = len(pairs.heads)

        def seen(new: Json, a: int, pairs: HeadPairs = pairs) -> None:
            """The input moved by something that the head sees."""
            V = pairs.V[pairs.head(a)]
            step = next(e for e in RationalMatrix.identity(pairs.width).rows() if any(x != 0 for x in V.apply(e)))
            old = new["witness"]["inputs"][a]
            add_to(old, step)

        for a in range(len(pairs)):
            assert verdict(edited(document, lambda new, a=a: seen(new, a))) == "false"  # type: ignore[misc]
        n = len(pairs) // h
        for i in range(n):
            changes: list[Callable[[Json], None]] = [
                lambda new, i=i: add_to(new["witness"]["points"][i], [1]),  # type: ignore[misc]
                lambda new, i=i: add_to(new["instance"]["queries"][i]["target"], [fmpq(1, 10**30)]),  # type: ignore[misc]
            ]
            for change in changes:
                assert verdict(edited(document, change)) == "false"
        unseen = [k for k in pairs.kernels if k.shape[1]]
        if unseen:  # an input moved by what its head does not see is as good
            a = next(a for a in range(len(pairs)) if pairs.kernels[pairs.head(a)].shape[1])
            k = pairs.kernels[pairs.head(a)].column(0)
            assert verdict(edited(document, lambda new: add_to(new["witness"]["inputs"][a], k))) == "true"  # noqa: B023


def test_a_direction_that_its_head_sees_is_rejected() -> None:
    """Although it keeps off the others: longer steps would be seen."""
    for pairs, document, _ in peelings():
        for a in range(len(pairs)):
            if pairs.V[pairs.head(a)].rank() == pairs.width:
                continue

            def change(new: Json, a: int = a) -> None:
                for c in range(pairs.width):  # noqa: B023
                    add_at(new["witness"]["directions"], a, c)

            moved = edited(document, change)
            values = [fmpq(1) for _ in range(pairs.width)]
            if any(x != 0 for x in pairs.V[pairs.head(a)].apply(values)):
                assert verdict(moved) == "false"


# --- shared logit vectors --------------------------------------------------------------------------------------------


def shared_documents() -> list[Json]:
    found = []
    rng = random.Random("shared documents")
    for model, data in (
        shared_but_memorizable(),
        blind_data(rng, 1, [(1, 0), (1, 0), (0, 1)], fmpq(7, 2)),
        blind_data(rng, 2, [(1, 0), (0, 1), (1, 0)], fmpq(2)),
    ):
        answer = answer_heads(pairs_of(model, data))
        assert answer.shared is not None
        found.append(certificates(model, answer)[0][1].document())
    return found


def test_equations_and_duals_changed_are_rejected() -> None:
    for document in shared_documents():
        assert verdict(document) == "true"
        equations = document["witness"]["equations"]
        for g, place in enumerate(equations):
            if place is None:
                continue
            first, second, c = place
            other = [second, first, c]
            assert (
                verdict(edited(document, lambda new, g=g, o=other: new["witness"]["equations"].__setitem__(g, o)))
                == "true"
            )  # type: ignore[misc]
            for bad in (None, [first, first, c], [first, second, document_width(document) - 1]):
                change = edited(document, lambda new, g=g, b=bad: new["witness"]["equations"].__setitem__(g, b))  # type: ignore[misc]
                assert verdict(change) == "false", bad
        for j, dual in enumerate(document["witness"]["duals"]):
            if len(dual["num"]) > 1:
                change = edited(document, lambda new, j=j: exchanged(new["witness"]["duals"][j]["num"], 0, 1))  # type: ignore[misc]
                assert verdict(change) == "false"

            def doubled(new: Json, j: int = j) -> None:
                times_row(new["witness"]["duals"][j], 0, 2)

            assert verdict(edited(document, doubled)) == "false"


def document_width(document: Json) -> int:
    return len(document["instance"]["queries"][0]["target"]["num"])


def test_a_mass_that_is_negative_is_rejected() -> None:
    """The witness of data with the mass 2 and targets for the mass −1/2: all equations agree, but the mass is none."""
    ids = [(1, 0), (1, 0)]
    _, wanted = blind_data(random.Random("negative"), 1, ids, fmpq(2))
    model, data = blind_data(random.Random("negative"), 1, ids, fmpq(-1, 2))
    assert [e.X for e in data.examples] == [e.X for e in wanted.examples]
    answer = answer_heads(pairs_of(model, wanted))
    document = certificates(model, answer)[0][1].document()
    other = pairs_of(model, data)
    inputs = other.inputs((0, 0))
    assert inputs is not None
    change = copy.deepcopy(document)
    for i, e in enumerate(data.examples):
        change["instance"]["queries"][i]["target"] = write.vector(e.targets.column(0))
        change["witness"]["points"][i] = write.vector(e.targets.column(0))
        change["witness"]["inputs"][i] = write.vector(inputs[i])
    assert verdict(document) == "true"
    assert verdict(change) == "false"


# --- no prompt -------------------------------------------------------------------------------------------------------


def refutations() -> list[Json]:
    found = []
    model, data = stuck_data()
    for length in (None, 3):
        found.append(refuted_certificate(model, refute_heads(pairs_of(model, data), length)).document())
    for seed in range(3):
        rng = random.Random(f"refutations/{seed}")
        model, x = random_model(rng, 4, 2, 2), random_tokens(rng, 4, 1)
        shared = in_range(model, [random_tokens(rng, 4, 2).hstack(x) for _ in range(2)], rng)
        found.append(refuted_certificate(model, refute_heads(pairs_of(model, shared))).document())
    return found


def leaves(node: Json) -> list[Json]:
    return [leaf for side in ("below", "above") for leaf in leaves(node[side])] if "group" in node else [node]


def test_values_of_leaves_changed_are_rejected() -> None:
    """y with its sign changed, one entry changed, the multipliers changed: the means no longer cancel, or the
    combination is on the other side."""
    for document in refutations():
        assert verdict(document) == "true"
        count = len(leaves(document["witness"]["combinations"][0]))
        for k in range(min(count, 4)):

            def leaf(new: Json, k: int = k) -> Json:
                return leaves(new["witness"]["combinations"][0])[k]

            assert verdict(edited(document, lambda new: times(leaf(new)["values"], -1))) == "false"
            assert verdict(edited(document, lambda new: add_to(leaf(new)["entropy"], [1]))) == "false"
            assert verdict(edited(document, lambda new: add_at(leaf(new)["divergence"], 0, 1))) == "false"
            values = numbers(leaf(document)["values"])
            for a in range(len(values)):
                for c in range(len(values[0])):
                    change = edited(document, lambda new, a=a, c=c: add_at(leaf(new)["values"], a, c))  # type: ignore[misc]
                    assert verdict(change) == "false" or _unseen(document, c)


def _unseen(document: Json, c: int) -> bool:
    """Whether no head has an output in coordinate c, so that y may be anything there."""
    return all(all(whole(x) == 0 for x in head["W_o"]["num"][c]) for head in document["instance"]["layer"]["heads"])


def test_a_refutation_of_other_targets_is_rejected() -> None:
    """The targets of a prompt in place of those that no prompt gives."""
    model, data = stuck_data()
    document = refuted_certificate(model, refute_heads(pairs_of(model, data))).document()
    rng = random.Random("other targets")
    for _ in range(5):
        met = met_by(model, [e.X for e in data.examples], random_tokens(rng, 2, 3))
        change = copy.deepcopy(document)
        put_targets(change, model, met)
        assert verdict(change) == "false"


def put_targets(document: Json, model: Transformer, data: Dataset) -> None:
    """Other targets, with their preimages."""
    for i, e in enumerate(data.examples):
        target = e.targets.column(0)
        document["instance"]["queries"][i]["target"] = write.vector(target)
        document["witness"]["preimages"][i] = finite_preimage(preimage(model.layers[0].mlp, target))


def test_vectors_against_the_range_changed_are_rejected() -> None:
    rng = random.Random("range")
    model = random_model(rng, 4, 1, 2)
    data = in_range(model, [random_tokens(rng, 4, 2) for _ in range(2)], rng)
    pairs = pairs_of(model, data)
    normal = RationalMatrix.of([row for V in pairs.pairs.V for row in V.T.rows()]).nullspace()[0]
    moved = data.examples[1].targets + column_vector(normal)
    off = Dataset((data.examples[0], Example(data.examples[1].X, moved)))  # type: ignore[arg-type]
    document = refuted_certificate(model, refute_heads(pairs_of(model, off))).document()
    assert verdict(document) == "true"

    def argument(new: Json) -> Json:
        return new["witness"]["combinations"][0]

    assert verdict(edited(document, lambda new: argument(new).update(query=0))) == "false"
    assert verdict(edited(document, lambda new: argument(new).update(query=2))) == "not a certificate"
    assert verdict(edited(document, lambda new: argument(new).update(w=write.vector([fmpq(0)] * 4)))) == "false"
    assert verdict(edited(document, lambda new: add_to(argument(new)["w"], [1]))) == "false"
    assert verdict(edited(document, lambda new: new["witness"].update(combinations=[]))) == "not a certificate"
    assert verdict(edited(document, lambda new: put_targets(new, model, data))) == "false"


def test_lengths_changed_are_rejected() -> None:
    """The same tree for more tokens, whose logarithm is larger."""
    layer, x = layer_with([[[1, 0], [0, 1]]], [[[1, 0], [0, 0]], [[0, 0], [0, 1]]])
    model = Transformer((layer,))
    data = Dataset((Example(x, column_vector([1, 0])),))
    document = refuted_certificate(model, refute_heads(pairs_of(model, data), 7)).document()
    assert verdict(document) == "true"
    assert verdict(edited(document, lambda new: new["instance"].update(length=8))) == "false"
    assert (
        verdict(
            edited(
                document, lambda new: new["witness"].update(log_length=[write.scalar(fmpq(2)), write.scalar(fmpq(3))])
            )
        )
        == "false"
    )
    less = edited(document, lambda new: new["instance"].update(length=2))
    less["witness"]["log_length"] = [write.scalar(fmpq(1, 2)), write.scalar(fmpq(1))]
    assert verdict(less) == "true"
    assert verdict(edited(document, lambda new: new["instance"].update(length=None))) != "true"


# --- stuck -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solve", [peel, star])
def test_flows_and_values_changed_are_rejected(solve: Callable[[HeadPairs], Any]) -> None:
    layer, tokens = crossed_layer()
    found = solve(HeadPairs.of(layer.attention.heads, tokens))
    assert isinstance(found, Stuck)
    document = stuck_certificate(layer, tokens, found).document()
    assert verdict(document) == "true"
    N = 4

    def value_rows(new: Json) -> Json:
        return new["instance"]["values"]

    for a, row in enumerate(numbers(value_rows(document))):
        if any(row):
            for factor in (-1, 0, 2):
                change = edited(document, lambda new, a=a, f=factor: times_row(value_rows(new), a, f))  # type: ignore[misc]
                assert verdict(change) == "false"

    def both(new: Json, values: int, flow: int) -> None:
        times(value_rows(new), values)
        times(new["witness"]["flow"], flow)

    for values, flow in ((-1, 1), (-1, -1), (0, 0), (1, 2), (0, 1)):
        assert verdict(edited(document, lambda new, v=values, f=flow: both(new, v, f))) == "false"  # type: ignore[misc]
    assert verdict(edited(document, lambda new: both(new, 2, 2))) == "true"
    for a in range(N):
        for b in range(N):
            change = edited(document, lambda new, a=a, b=b: add_at(new["witness"]["flow"], a, b))  # type: ignore[misc]
            assert verdict(change) == "false"
    assert verdict(edited(document, lambda new: exchanged_columns(new["instance"]["tokens"]["num"]))) == "false"


def exchanged_columns(rows: list[list[Json]]) -> None:
    for row in rows:
        exchanged(row, 0, 1)


# --- prompts ---------------------------------------------------------------------------------------------------------


def test_prompts_changed_are_rejected() -> None:
    """Targets, counts, lengths, radius, references: rejected unless nothing changes by it."""
    rng = random.Random("prompts")
    model = random_model(rng, 2, 1, 2)
    data = met_by(model, [random_tokens(rng, 2, 2)], random_tokens(rng, 2, 3))
    pairs = pairs_of(model, data)
    answer = answer_heads(pairs, explicit=True)
    assert answer.proved is not None
    assert answer.choice is not None
    certificate: Certificate = prompt_certificate(model, pairs, answer.choice, answer.proved)
    document = certificate.document()
    assert verdict(document) == "true"
    witness = document["witness"]

    def with_witness(**fields: Json) -> Json:
        return edited(document, lambda new: new["witness"].update(fields))

    def moved_target(new: Json, step: Any) -> None:
        for value in (new["instance"]["queries"][0]["target"], new["witness"]["points"][0]):
            add_to(value, [step])

    counts = list(witness["counts"])
    more = with_witness(counts=[counts[0] + 1, *counts[1:]])
    assert verdict(more) != "true"  # another length
    more["instance"]["length"] += 1
    assert verdict(more) == "false"
    assert verdict(edited(document, lambda new: moved_target(new, 1))) == "false"
    assert verdict(edited(document, lambda new: moved_target(new, fmpq(1, 10**9)))) == "false"
    assert verdict(with_witness(radius=write.scalar(fmpq(0)))) != "true"
    assert verdict(with_witness(radius=write.scalar(fmpq(-1)))) != "true"
    assert verdict(with_witness(radius=write.scalar(fmpq(1, 2**150)))) == "false"
    assert verdict(with_witness(radius=write.scalar(fmpq(16)))) == "false"
    assert verdict(with_witness(references=write.vector([fmpq(1), fmpq(-2)]))) == "true"
    assert verdict(with_witness(unknowns=witness["unknowns"][::-1])) == "false"
    assert verdict(with_witness(unknowns=[witness["unknowns"][0]] * len(witness["unknowns"]))) != "true"
