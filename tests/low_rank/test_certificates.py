"""Certificates of updates: accepted; changed in one place, rejected."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from layer_instances import demand_all_true, judged
from rank_instances import distinct_points, plain, units

from constructions.data import Dataset, Example, Query
from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.low_rank import NoUpdateError, solve_rational, triangular_update
from constructions.single_layer.pair import unmemorizable_pair
from constructions.transformer import Transformer
from verify.certificate import canonical, seal
from verify.claims.low_rank_memorization import (
    equal_scores,
    impossible_certificate,
    random_data,
    triangular_certificate,
    updated_certificate,
)
from verify.instances import random_layer

Json = Any


def answer(document: Json) -> tuple[str, str]:
    return judged(canonical(seal(document)) + "\n")


def changed(document: Json, change: Callable[[Json], None]) -> Json:
    edited = copy.deepcopy(document)
    change(edited)
    return edited


def test_updates_are_accepted(tmp_path: Path) -> None:
    """One and two heads, kept biases, and pairs that no prompt memorizes."""
    certificates = []
    for seed in range(12):
        rng = random.Random(f"accepted/{seed}")
        n = 1 + seed % 5
        model, data = random_data(rng, 1 + seed % 4, n, n + seed % 3, 1 + seed % 2)
        queries = list(data.queries(model))
        try:
            certificates.append(triangular_certificate(model, queries, triangular_update(model.layers[0], queries)))
        except NoUpdateError:
            continue
    for seed in range(3):
        model, queries = plain(distinct_points(seed, 2, 4), [[k, -k] for k in range(4)], units(2, [-1, -2, -1, 3]))
        update = triangular_update(model.layers[0], queries, biases="kept")
        certificates.append(triangular_certificate(model, queries, update))
        layer = random_layer(random.Random(f"pair/{seed}"), 3, r=3)
        queries = list(unmemorizable_pair(layer).data.queries(Transformer((layer,))))
        certificates.append(triangular_certificate(Transformer((layer,)), queries, triangular_update(layer, queries)))
    assert len(certificates) >= 14
    demand_all_true(tmp_path, certificates)


def triangular() -> tuple[Transformer, list[Query], Json]:
    model, data = random_data(random.Random(4), 2, 4, 5)
    queries = list(data.queries(model))
    update = triangular_update(model.layers[0], queries)
    return model, queries, triangular_certificate(model, queries, update).document()


def test_the_sentence_counts() -> None:
    _, _, document = triangular()
    verdict, sentence = answer(document)
    assert verdict == "true"
    assert "rows changed: 4, change of rank 1" in sentence
    assert "entries changed: 4" in sentence
    assert "at most 4 columns" in sentence


def test_neurons_or_queries_exchanged() -> None:
    """Every exchange of two breaks the pattern: only the last query makes the last neuron fire."""
    _, _, document = triangular()
    for part in ("neurons", "order"):
        listed = document["witness"][part]
        for i in range(4):
            for k in range(i):
                swapped = list(listed)
                swapped[i], swapped[k] = swapped[k], swapped[i]
                assert answer(changed(document, lambda x, p=part, s=swapped: x["witness"].update({p: s})))[0] == "false"
        assert answer(changed(document, lambda x, p=part, s=listed: x["witness"].update({p: s[::-1]})))[0] == "false"
        twice = [listed[0], *listed[:-1]]
        assert (
            answer(changed(document, lambda x, p=part, s=twice: x["witness"].update({p: s})))[0] == "not a certificate"
        )
        short = listed[:-1]
        assert (
            answer(changed(document, lambda x, p=part, s=short: x["witness"].update({p: s})))[0] == "not a certificate"
        )


def test_the_first_layer_as_it_was() -> None:
    _, _, document = triangular()
    mlp = document["instance"]["layer"]["mlp"]
    assert answer(changed(document, lambda x: x["witness"].update(W_1=mlp["W_1"], b_1=mlp["b_1"])))[0] == "false"
    assert answer(changed(document, lambda x: x["witness"].update(b_1=mlp["b_1"])))[0] == "false"
    assert answer(changed(document, lambda x: x["witness"].update(W_1=mlp["W_1"])))[0] == "false"


def test_a_query_that_is_asked_twice() -> None:
    """No neuron fires at one of two equal features alone."""
    _, _, document = triangular()
    twice = changed(
        document, lambda x: x["instance"]["queries"].__setitem__(1, copy.deepcopy(x["instance"]["queries"][0]))
    )
    assert answer(twice)[0] == "false"


def test_an_embedding_is_refused() -> None:
    _, _, document = triangular()
    embedded = changed(document, lambda x: x["instance"]["layer"].update(E={"den": 1, "num": [[0] * 9, [0] * 9]}))
    assert answer(embedded)[0] != "true"


def rational(n: int = 3) -> Json:
    model, data = equal_scores(3, n, 1)
    queries = list(data.queries(model))
    mlp = solve_rational(triangular_update(model.layers[0], queries), queries)
    assert mlp is not None
    return updated_certificate(model, queries, mlp).document()


def test_rational_updates_are_accepted_and_any_entry_matters() -> None:
    document = rational()
    assert answer(document)[0] == "true"
    W_2 = document["witness"]["W_2"]
    fired = 0
    for c in range(3):
        for l in range(3):

            def moved(x: Json, c: int = c, l: int = l) -> None:
                table = x["witness"]["W_2"]["num"]
                table[c][l] = hex(whole(table[c][l]) + whole(W_2["den"]))

            fired += answer(changed(document, moved))[0] == "false"
    assert fired == 9
    for c in range(3):

        def shifted(x: Json, c: int = c) -> None:
            vector = x["witness"]["b_2"]
            vector["num"][c] = whole(vector["num"][c]) + 1

        assert answer(changed(document, shifted))[0] == "false"
    target = changed(document, lambda x: x["instance"]["queries"][2]["target"]["num"].__setitem__(0, 10**6))
    assert answer(target)[0] == "false"
    assert answer(changed(document, lambda x: x["witness"].update(x["instance"]["layer"]["mlp"])))[0] == "false"


def whole(value: Json) -> int:
    return int(value, 16) if isinstance(value, str) else int(value)


def test_impossible_pairs() -> None:
    model, _ = random_data(random.Random(1), 2, 1, 2, 2)
    R = RationalMatrix.of
    contexts = (R([[0, 2, 1], [3, 1, 0]]), R([[2, 0, 1], [1, 3, 0]]), R([[2, 0, 1], [1, 2, 0]]))
    targets = (R([[1], [0]]), R([[0], [1]]), R([[1], [0]]))
    data = Dataset(tuple(Example(X, y) for X, y in zip(contexts, targets, strict=True)))
    queries = list(data.queries(model))
    document = impossible_certificate(model, queries, 0, 1).document()
    assert answer(document)[0] == "true"
    for pair in ([0, 2], [1, 2]):  # other features
        assert answer(changed(document, lambda x, p=pair: x["witness"].update(queries=p)))[0] == "false"
    same = changed(document, lambda x: x["instance"]["queries"][1].update(target=x["instance"]["queries"][0]["target"]))
    assert answer(same)[0] == "false"
    assert answer(changed(document, lambda x: x["witness"].update(queries=[0, 0])))[0] == "false"
    assert answer(changed(document, lambda x: x["witness"].update(queries=[0, 3])))[0] == "not a certificate"
