"""Certificates of decisions, both ways: accepted by the kernel; changed in one place so that they fail, rejected."""

from __future__ import annotations

import copy
import random
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from math import inf
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from flint import fmpq
from hypothesis import settings
from layer_instances import demand_all_true
from query_instances import FloatCriterion

from constructions.data import Dataset, Example
from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.decide_several import CriterionDecision, decide_several, refute_length
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from constructions.verdict import Undecided
from verify import certificate as write
from verify.certificate import Certificate, canonical, seal
from verify.claims.several_queries import impossible_certificate, point_certificate, random_data, several_queries
from verify.kernel_process import accepted, check_files

Json = Any
SEEDS = range(max(6, settings.default.max_examples // 4))  # type: ignore[attr-defined]


def decided(seed: int) -> tuple[Transformer, Dataset, CriterionDecision]:
    """Random data with d = 2..4 and 2 or 3 queries, decided."""
    rng = random.Random(f"certificates/{seed}")
    d = 2 + seed % 3
    model, data = random_data(rng, d, min(d, 2 + seed % 2))
    return model, data, decide_several(several_queries(model, data))


def certificate_of(model: Transformer, decision: CriterionDecision) -> Certificate:
    if decision.possible is None:
        return impossible_certificate(model, decision)
    return point_certificate(model, decision.data, *decision.possible)


def crossed() -> tuple[Transformer, Dataset]:
    """Two queries, far apart, with exchanged targets: at every mass the sum of D_01 and D_10 is negative."""
    one = RationalMatrix.identity(2)
    model = Transformer((Layer(Attention((Head(one, one, one),)), FeedForward.none(2)),))
    first = Example(RationalMatrix.of([[2], [0]]), RationalMatrix.of([[-2], [0]]))
    second = Example(RationalMatrix.of([[-2], [0]]), RationalMatrix.of([[2], [1]]))
    return model, Dataset((first, second))


def test_decisions_are_accepted(tmp_path: Path) -> None:
    """Both relations, with any length and with a bounded one."""
    certificates, relations = [], []
    for seed in SEEDS:
        model, _, decision = decided(seed)
        certificates.append(certificate_of(model, decision))
        relations.append(certificates[-1].relation)
        shorter = None if decision.possible is None else refute_length(decision.data, 1)
        if shorter is not None:
            certificates.append(impossible_certificate(model, shorter))
    demand_all_true(tmp_path, certificates)
    assert {"memorizable", "no-prompt-memorizes"} == set(relations)
    assert len(certificates) > len(relations)


def verdicts(folder: Path, documents: list[Json]) -> list[str]:
    """The kernel's, in one process, after each document is sealed."""
    paths = []
    for k, document in enumerate(documents):
        path = folder / f"{k}.json"
        path.write_text(canonical(seal(document)) + "\n", encoding="ascii")
        paths.append(path)
    return [answer.verdict for answer in check_files(paths)]


# --- points ----------------------------------------------------------------------------------------------------------


def moved_boxes(model: Transformer, data: Dataset, document: Json) -> Iterator[Json]:
    """The point moved along each axis until an inequality is violated by a little."""
    floats = FloatCriterion(model, data)
    box = document["witness"]["box"]
    point = np.array([read(low) for low, _ in box])
    for g in range(len(box)):
        for sign in (-1, 1):
            steps = sign * np.geomspace(1e-3, 1e3, 400)
            line = point + steps[:, None] * np.eye(len(box))[g]
            with np.errstate(over="ignore", invalid="ignore"):
                wrong = np.flatnonzero(floats.least(line) < -1e-3)
            if len(wrong):
                end = write.scalar(fmpq(round(float(line[wrong[0], g]) * 2**20), 2**20))
                edited = copy.deepcopy(document)
                edited["witness"]["box"][g] = [end, end]
                yield edited


def read(value: Json) -> Any:
    """A scalar, vector or matrix of a certificate in floats."""

    def over(num: Json) -> Any:
        return [over(x) for x in num] if isinstance(num, list) else int(Fraction(whole(num), den) * 2**60) / 2**60

    den = whole(value["den"])
    found = over(value["num"])
    return np.array(found) if isinstance(found, list) else found


def whole(value: Json) -> int:
    return int(value, 16) if isinstance(value, str) else int(value)


def test_points_with_an_inequality_reversed_are_rejected(tmp_path: Path) -> None:
    documents = []
    for seed in SEEDS:
        model, data, decision = decided(seed)
        if decision.possible is not None:
            documents += moved_boxes(model, data, certificate_of(model, decision).document())
    assert len(documents) >= 8
    assert set(verdicts(tmp_path, documents)) == {"false"}


def test_points_with_another_target_are_rejected(tmp_path: Path) -> None:
    """A target far away, with its preimage: an inequality fails at the same point."""
    documents = []
    for seed in SEEDS:
        model, data, decision = decided(seed)
        if decision.possible is None:
            continue
        floats = FloatCriterion(model, data)
        sigma = np.array([(float(low) + float(high)) / 2 for low, high in decision.possible[1].box])
        document = certificate_of(model, decision).document()
        for sign in (-1000, 1000):
            target = [x + sign for x in data.examples[0].targets.column(0)]
            first = Example(data.examples[0].X, RationalMatrix.of_columns([target]))
            floats = FloatCriterion(model, Dataset((first, *data.examples[1:])))
            edited = copy.deepcopy(document)
            edited["instance"]["queries"][0]["target"] = write.vector(target)
            edited["witness"]["points"][0] = write.vector(target)
            if floats.least(sigma) < -1e-3:
                documents.append(edited)
    assert len(documents) >= 3
    assert set(verdicts(tmp_path, documents)) == {"false"}


# --- trees -----------------------------------------------------------------------------------------------------------


@cache
def trees() -> list[tuple[FloatCriterion, Json]]:
    """Certificates with at least one cut, with their inequalities in floats."""
    found = []
    for seed in range(60):
        rng = random.Random(f"trees/{seed}")
        model, data = random_data(rng, 2 + seed % 2, 2)
        try:
            decision = decide_several(several_queries(model, data))
        except Undecided:
            continue
        if decision.possible is None:
            document = impossible_certificate(model, decision).document()
            if "group" in document["witness"]["combinations"][0].get("tree", {}):
                found.append((FloatCriterion(model, data), document))
        if len(found) == 8:
            break
    return found


def cuts(node: Json, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if "group" not in node:
        return []
    return [path, *cuts(node["below"], (*path, "below")), *cuts(node["above"], (*path, "above"))]


def with_node(document: Json, path: tuple[str, ...], change: Callable[[Json], Json]) -> Json:
    edited = copy.deepcopy(document)
    argument = edited["witness"]["combinations"][0]
    parent, last = argument, "tree"
    for key in path:
        parent, last = parent[last], key
    parent[last] = change(parent[last])
    return edited


def refutes(floats: FloatCriterion, node: Json, box: list[tuple[float, float]]) -> bool:
    """Whether the combination of each leaf is negative at all samples of its box."""
    if "group" in node:
        g, at = node["group"], read(node["at"])
        low, high = box[g]
        below, above = ([*box[:g], part, *box[g + 1 :]] for part in ((low, min(at, high)), (max(at, low), high)))
        return refutes(floats, node["below"], below) and refutes(floats, node["above"], above)
    if any(low > high for low, high in box):
        return True
    return floats.largest(read(node["entropy"]), read(node["divergence"]), box) < 0


def compared(folder: Path, mutants: list[tuple[FloatCriterion, Json]]) -> Counter[str]:
    """The kernel's verdicts, none of which is "true" where samples show a leaf that is not negative."""
    found = verdicts(folder, [document for _, document in mutants])
    for verdict, (floats, document) in zip(found, mutants, strict=True):
        tree = document["witness"]["combinations"][0]["tree"]
        assert verdict == "false" or refutes(floats, tree, [(-inf, inf)] * 2)
    return Counter(found)


def test_trees_are_accepted_and_hold_at_samples(tmp_path: Path) -> None:
    assert len(trees()) >= 5
    assert set(compared(tmp_path, trees())) == {"true"}


def test_trees_without_a_leaf_are_rejected(tmp_path: Path) -> None:
    """Each cut replaced by one of its sides, by the same side twice, and its sides exchanged. A few leaves hold on
    more than their box: there, and only there, the kernel accepts."""
    mutants = []
    for floats, document in trees():
        for path in cuts(document["witness"]["combinations"][0]["tree"])[:8]:
            for side, other in (("below", "above"), ("above", "below")):
                mutants.append((floats, with_node(document, path, itemgetter(side))))
                twice = with_node(document, path, lambda node, side=side, other=other: {**node, other: node[side]})
                mutants.append((floats, twice))
            exchanged = with_node(document, path, lambda node: {**node, "below": node["above"], "above": node["below"]})
            mutants.append((floats, exchanged))
    found = compared(tmp_path, mutants)
    assert found["false"] >= 20
    assert found["true"] <= len(mutants) // 4


def test_trees_with_a_cut_moved_are_rejected(tmp_path: Path) -> None:
    """So far that one side covers what only the other refutes, if it did."""
    mutants = []
    for floats, document in trees():
        for by in (-30, -1, 1, 30):

            def moved(node: Json, by: int = by) -> Json:
                return {**node, "at": write.scalar(fmpq(whole(node["at"]["num"]), whole(node["at"]["den"])) + by)}

            mutants.append((floats, with_node(document, (), moved)))
    assert compared(tmp_path, mutants)["false"] >= len(mutants) // 3


# --- cycles ----------------------------------------------------------------------------------------------------------


def test_a_cycle_with_one_multiplier_changed_is_rejected(tmp_path: Path) -> None:
    """D_01 + D_10 < 0 at every mass: one leaf, without any bound on the masses. In any other proportion they do not
    cancel at infinity; with H_g it is not bounded; a negative multiplier is not allowed."""
    model, data = crossed()
    document = impossible_certificate(model, decide_several(several_queries(model, data))).document()
    path = tmp_path / "cycle.json"
    path.write_text(canonical(seal(document)) + "\n", encoding="ascii")
    assert "boxes: 1)" in accepted([path])[0]
    leaf = document["witness"]["combinations"][0]["tree"]
    assert "group" not in leaf
    table = leaf["divergence"]
    assert table["num"][0][1] == table["num"][1][0] > 0
    assert leaf["entropy"]["num"] == [0, 0]
    documents = []
    for g, k in ((0, 1), (1, 0)):
        for change in (-2, -1, 1, 1000):
            edited = copy.deepcopy(document)
            cells = edited["witness"]["combinations"][0]["tree"]["divergence"]["num"]
            cells[g][k] += change * cells[g][k] if change != 1 else 1
            documents.append(edited)
    for g in range(2):
        edited = copy.deepcopy(document)
        edited["witness"]["combinations"][0]["tree"]["entropy"]["num"][g] = 1
        documents.append(edited)
        edited = copy.deepcopy(document)
        edited["witness"]["combinations"][0]["tree"]["divergence"]["num"][g][g] = 1
        documents.append(edited)
    assert set(verdicts(tmp_path, documents)) == {"false"}
