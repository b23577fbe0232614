"""Certificates changed in one place, so that what they say is false or not shown: rejected by the kernel."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
from flint import fmpq
from layer_instances import judged
from length_instances import asked_by_queries, bound_of, dominant_at, leaves, parallel, random_asked

from constructions.data import Dataset, Example
from constructions.numbers.rational import RationalMatrix, column_vector
from constructions.single_layer.independence import Box, Independence, IndependenceTree, LambdaCut
from constructions.single_layer.preimage import preimage
from constructions.single_layer.prompt_length import (
    PromptDataset,
    TooShort,
    naive_dataset,
    needed_tokens,
    one_token_two_heads,
    prove_independent,
    prove_tight,
    tight_dataset,
)
from constructions.transformer import Transformer
from verify import certificate as write
from verify.certificate import canonical, seal
from verify.claims.prompt_length_bound import (
    independent_certificate,
    prompt_certificate,
    tight_certificate,
    too_short_certificate,
)

Json = Any


def verdict(document: Json) -> str:
    return judged(canonical(seal(document)) + "\n")[0]


def changed(document: Json, change: Callable[[Json], None]) -> Json:
    edited = copy.deepcopy(document)
    change(edited)
    return edited


def too_short_document(ratios: list[tuple[int, int]], d: int = 3) -> Json:
    model, data = parallel(d, ratios)
    found = bound_of(model, data)
    assert found is not None
    return too_short_certificate(model, found).document()


@pytest.fixture
def plain() -> Json:
    document = too_short_document([(1, 0), (3, 2), (1, -1)])
    assert verdict(document) == "true"
    return document


def test_a_length_that_has_the_dimensions(plain: Json) -> None:
    for length in (3, 4, 10**6, None):
        assert verdict(changed(plain, lambda x, n=length: x["instance"].update(length=n))) == "false"
    assert verdict(changed(plain, lambda x: x["instance"].update(length=1))) == "true"
    assert verdict(changed(plain, lambda x: x["instance"].update(length=0))) == "not a certificate"


def test_a_query_left_out_is_one_dimension_less(plain: Json) -> None:
    """Two queries still exclude one token, but not two."""

    def without(x: Json) -> None:
        witness = x["witness"]
        for part in (witness["queries"], witness["preimages"], witness["combinations"][0]["weights"]["num"]):
            part.pop()
        witness["combinations"][0]["rows"]["num"].pop()

    assert verdict(changed(plain, without)) == "false"
    shorter = changed(plain, without)
    shorter["instance"]["length"] = 1
    assert verdict(shorter) == "true"


def test_a_query_used_twice(plain: Json) -> None:
    twice = changed(plain, lambda x: x["witness"].update(queries=[0, 0, 1]))
    assert verdict(twice) != "true"


def test_weights_are_positive(plain: Json) -> None:
    for value in (0, -1):
        edited = changed(plain, lambda x, v=value: x["witness"]["combinations"][0]["weights"]["num"].__setitem__(1, v))
        assert verdict(edited) == "false"


def test_rows_that_do_not_dominate(plain: Json) -> None:
    rows = plain["witness"]["combinations"][0]["rows"]["num"]
    for edited_rows in (rows[::-1], [rows[0]] * 3, [[-x for x in row] for row in rows], [[0] * 3, *rows[1:]]):
        edited = changed(plain, lambda x, r=edited_rows: x["witness"]["combinations"][0]["rows"].update(num=r))
        assert verdict(edited) == "false"


@pytest.mark.parametrize("alpha", [fmpq(1, 2), fmpq(1), fmpq(199, 100)])
def test_a_ratio_inside(alpha: fmpq) -> None:
    """β = 2: the target is moved along v, to where the contribution vanishes at λ = α/2 within the cube."""
    model, data = parallel(3, [(3, 2), (1, 0)])
    found = bound_of(model, data)
    assert found is not None
    assert verdict(too_short_certificate(model, found).document()) == "true"
    x = data.examples[0].X.column(1)
    third = [(y - z) / 3 for y, z in zip(data.examples[0].targets.column(0), x, strict=True)]

    def at(value: fmpq) -> Json:
        target = column_vector([value * y + z for y, z in zip(third, x, strict=True)])
        moved = Dataset((Example(data.examples[0].X, target), data.examples[1]))
        queries = tuple(moved.queries(model))
        preimages = tuple(preimage(model.layers[0].mlp, query.target) for query in queries)
        return too_short_certificate(model, replace(found, queries=queries, preimages=preimages)).document()

    assert verdict(at(alpha)) == "false"
    assert verdict(at(fmpq(2))) == verdict(at(fmpq(3))) == "true"  # α = β: it vanishes at λ = 1 only


def _dependent() -> tuple[Transformer, TooShort]:
    """Two queries whose contributions are (1, 0) and (2, 0), with the proof of two that are independent."""
    model, data = parallel(2, [(1, 0), (1, 0)])
    found = bound_of(model, data)
    assert found is not None
    x_0, x_1 = (each.X.column(1) for each in data.examples)
    y_0 = data.examples[0].targets.column(0)
    y_1 = [2 * (a - b) + c for a, b, c in zip(y_0, x_0, x_1, strict=True)]
    changed_data = Dataset((data.examples[0], Example(data.examples[1].X, column_vector(y_1))))
    queries = tuple(changed_data.queries(model))
    preimages = tuple(preimage(model.layers[0].mlp, query.target) for query in queries)
    return model, TooShort(model.layers[0], queries, found.used, preimages, found.length, found.trees)


def test_dependent_directions() -> None:
    model, wrong = _dependent()
    assert bound_of(model, Dataset(tuple(Example(q.X, column_vector(list(q.target))) for q in wrong.queries))) is None
    assert verdict(too_short_certificate(model, wrong).document()) == "false"


# -- datasets of a prompt ---------------------------------------------------------------------------------------------


def test_tight_with_another_prompt_or_length() -> None:
    data = tight_dataset(3, 3)
    document = tight_certificate(prove_tight(data)).document()
    assert verdict(document) == "true"
    assert verdict(changed(document, lambda x: x["instance"].update(length=3))) == "false"
    assert verdict(changed(document, lambda x: x["instance"].update(length=None))) == "false"
    one_token = write.matrix(data.prompt.columns(0, 1))
    assert verdict(changed(document, lambda x: x["instance"].update(prompt=one_token))) == "false"
    twice = changed(document, lambda x: x["instance"]["inputs"].__setitem__(1, x["instance"]["inputs"][0]))
    assert verdict(twice) == "false"


def test_tight_needs_an_injective_mlp() -> None:
    data = tight_dataset(2, 2)
    d = data.layer.width
    document = tight_certificate(prove_tight(data)).document()
    fold = {
        "W_1": write.matrix(RationalMatrix.of([[1, 0]])),
        "b_1": write.vector([fmpq(0)]),
        "W_2": write.matrix(RationalMatrix.of([[-2], [0]])),
        "b_2": write.vector([fmpq(0)] * d),
    }
    for factor in (1, 0, -1):
        edited = copy.deepcopy(document)
        edited["instance"]["layer"]["mlp"] = fold
        edited["witness"]["factor"] = write.matrix(RationalMatrix.of([[factor]]))
        assert verdict(edited) == "false"


def test_independent_needs_fewer_tokens_than_inputs() -> None:
    data = one_token_two_heads()
    document = independent_certificate(data, prove_independent(data)).document()
    assert verdict(document) == "true"
    two = write.matrix(RationalMatrix.of([[1, 1], [0, 0]]))
    assert verdict(changed(document, lambda x: x["instance"].update(prompt=two))) == "false"
    for head in (0, 1):  # one head alone: the contributions are parallel
        silent = copy.deepcopy(document)
        silent["instance"]["layer"]["heads"][head]["W_v"] = write.matrix(RationalMatrix.zeros(2, 2))
        assert verdict(silent) == "false"
    same = PromptDataset(data.layer, (data.inputs[0],) * 2, data.prompt)
    assert verdict(independent_certificate(same, prove_independent(data)).document()) == "false"


def test_a_prompt_that_misses() -> None:
    model, data, prompt = naive_dataset(3, 2)
    document = prompt_certificate(model, data, prompt).document()
    assert verdict(document) == "true"
    for other in (RationalMatrix.of([[1], [0], [0]]), RationalMatrix.zeros(3, 2)):
        assert verdict(changed(document, lambda x, P=other: x["instance"].update(prompt=write.matrix(P)))) == "false"
    target = document["instance"]["queries"][0]["target"]
    moved = {"den": target["den"], "num": [target["num"][0] + 1, *target["num"][1:]]}
    assert verdict(changed(document, lambda x: x["instance"]["queries"][0].update(target=moved))) == "false"
    both = changed(document, lambda x: x["instance"]["queries"][0].update(target=moved))
    both["witness"]["points"][0] = moved
    assert verdict(both) == "false"


# -- trees ------------------------------------------------------------------------------------------------------------


def mutants(tree: IndependenceTree) -> Iterator[IndependenceTree]:
    """Each cut replaced by one of its sides, by the same side twice, and moved."""
    if isinstance(tree, LambdaCut):
        yield from (tree.below, tree.above)
        yield from (replace(tree, below=tree.above), replace(tree, above=tree.below))
        yield from (replace(tree, at=tree.at + step) for step in (fmpq(1, 4), fmpq(-1, 4)))
        yield from (replace(tree, below=each) for each in mutants(tree.below))
        yield from (replace(tree, above=each) for each in mutants(tree.above))


@pytest.mark.parametrize("seed", [11, 19, 26, 47])
def test_trees_without_a_side(seed: int) -> None:
    """A few leaves hold on more than their box: there, and only there, the kernel accepts."""
    layer, queries, asked = random_asked(seed)
    tree = Independence(asked).run()
    assert isinstance(tree, LambdaCut)
    n, h = len(queries), len(layer.attention.heads)
    preimages = tuple(preimage(layer.mlp, query.target) for query in queries)
    needed = needed_tokens(layer, n)
    again = asked_by_queries(layer, queries, [query.target for query in queries])
    assert needed is not None
    assert needed > 1
    rng, rejected = random.Random(seed), 0
    for place, each in enumerate([tree, *islice(mutants(tree), 12)]):
        found = TooShort(layer, tuple(queries), tuple(range(n)), preimages, needed - 1, (each,))
        document = too_short_certificate(Transformer((layer,)), found).document()
        answer, why = judged(canonical(seal(document)) + "\n")
        if place == 0:
            assert answer == "true"
            continue
        boxes = leaves(each, ((fmpq(0), fmpq(1)),) * (n * h))
        holds = all(
            dominant_at(again, leaf, [inside(rng, box)[k * h : (k + 1) * h] for k in range(n)])
            for box, leaf in boxes
            for _ in range(4)
            if all(low < high for low, high in box)
        )
        assert holds or answer == "false", why
        rejected += answer == "false"
    assert rejected >= 3


def inside(rng: random.Random, box: Box) -> list[fmpq]:
    return [low + (high - low) * fmpq(rng.randint(0, 100) * 998 + 100, 100000) for low, high in box]


def test_cuts_outside_the_box_and_of_other_axes() -> None:
    """A cut at 2 makes a box without points above; one of an axis that is not there is refused."""
    document = too_short_document([(1, 0), (1, -1)])
    leaf = document["witness"]["combinations"][0]
    wrong = {**leaf, "rows": {"den": 1, "num": [[0, 0, 0], [0, 0, 0]]}}

    def cut(pair: int, at: int, below: Json, above: Json) -> Json:
        node = {"pair": pair, "at": write.scalar(fmpq(at)), "below": below, "above": above}
        return changed(document, lambda x: x["witness"].update(combinations=[node]))

    assert verdict(cut(0, 2, leaf, leaf)) == "true"
    assert verdict(cut(0, 2, wrong, leaf)) == "false"
    assert verdict(cut(0, -1, leaf, wrong)) == "false"
    assert verdict(cut(2, 0, leaf, leaf)) == "not a certificate"
