"""Certificates of the four claims: accepted by the kernel; changed in one place, rejected."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flint import fmpq

from constructions.universality.contextual_map import ContextualMap
from constructions.universality.for_all import Budget, budget
from constructions.universality.grid import Grid
from verify import certificate as write
from verify.certificate import Certificate, canonical, seal
from verify.claims import contextual_mapping, quantisation, universality_hardmax, universality_softmax
from verify.kernel_process import accepted, check_files

Json = Any
ONE = fmpq(1)
BUDGETS = [
    (1, 1, ONE, ONE, fmpq(1, 10)),
    (1, 1, ONE, fmpq(2), fmpq(1, 100)),
    (2, 1, ONE, fmpq(2), fmpq(1, 2)),
    (1, 2, ONE, fmpq(3, 2), fmpq(1, 4)),
    (1, 1, fmpq(5), fmpq(3), fmpq(1, 20)),
]


def mappings() -> list[Certificate]:
    found = []
    for size in ((1, 1, 2), (2, 1, 2), (1, 2, 2)):
        map = ContextualMap(Grid(*size), ContextualMap(Grid(*size)).sufficient_shift())
        found += [contextual_mapping.distinct_certificate(map, by) for by in ("bound", "enumeration")]
    return [*found, collision_certificate()]


def collision_certificate() -> Certificate:
    """At G = 2^11."""
    map = ContextualMap(Grid(1, 2, 2), 2**11)
    found = contextual_mapping.collision(map)
    assert found is not None
    return contextual_mapping.collision_certificate(map, *found)


def test_no_shift_separates_two_read_columns_and_not_three(tmp_path: Path) -> None:
    """m = 2: G = 0 is enough. m = 3: contexts that differ in column n − 2 only agree in column n − 3."""
    two = contextual_mapping.distinct_certificate(ContextualMap(Grid(1, 2, 2)), "enumeration")
    zero = (0,) * 27
    other = (*zero[:25], 1, 0)
    three = contextual_mapping.collision_certificate(ContextualMap(Grid(1, 3, 2)), (zero, other), (24, 24))
    paths = [tmp_path / "two.json", tmp_path / "three.json"]
    two.write(paths[0])
    three.write(paths[1])
    assert len(accepted(paths)) == 2


def test_all_are_accepted(tmp_path: Path) -> None:
    certificates = [quantisation.certificate(d, m, 3, L, p) for d, m, L, p, _ in BUDGETS]
    certificates += mappings()
    for case in BUDGETS:
        found = budget(*case)
        certificates += [universality_hardmax.certificate(found), universality_softmax.certificate(found)]
    paths = []
    for i, certificate in enumerate(certificates):
        paths.append(tmp_path / f"{i}.json")
        certificate.write(paths[-1])
    assert len(accepted(paths)) == len(certificates)


def verdicts(folder: Path, documents: list[Json]) -> list[str]:
    """The kernel's, in one process, after each document is sealed."""
    paths = []
    for i, document in enumerate(documents):
        paths.append(folder / f"{i}.json")
        paths[-1].write_text(canonical(seal(document)) + "\n", encoding="ascii")
    return [answer.verdict for answer in check_files(paths)]


def edited(document: Json, part: str, name: str, value: Json) -> Json:
    copied = copy.deepcopy(document)
    assert name in copied[part]
    copied[part][name] = value
    return copied


Change = Callable[[Budget, Json], Json]


def set_witness(name: str, value: Callable[[Budget], fmpq]) -> Change:
    return lambda found, document: edited(document, "witness", name, write.scalar(value(found)))


def roots_of(first: Callable[[Budget], fmpq], second: Callable[[Budget], fmpq]) -> Change:
    return lambda found, document: edited(
        document, "witness", "roots", [write.scalar(first(found)), write.scalar(second(found))]
    )


STEP = fmpq(1, 1 << 70)
COMMON: dict[str, Change] = {
    "roots swapped": roots_of(lambda b: b.roots.below, lambda b: b.roots.above + 2),
    "first root too small": roots_of(lambda b: b.roots.above / 2, lambda b: b.roots.below),
    "second root too large": roots_of(lambda b: b.roots.above, lambda b: b.roots.below + STEP * (1 << 10)),
    "smaller epsilon": lambda b, doc: edited(doc, "instance", "epsilon", write.scalar(b.quantisation * fmpq(99, 100))),
    "larger L": lambda b, doc: edited(doc, "instance", "L", write.scalar(3 * b.L)),
    "coarser grid": lambda b, doc: edited(doc, "instance", "k", max(2, b.grid.k // 2)),
    "G minus one, or one for none": lambda b, doc: edited(doc, "instance", "G", write.integer(b.G - 1 if b.G else 1)),
}
SOFTMAX: dict[str, Change] = {
    "t halved": set_witness("t", lambda b: b.t / 2),
    "t a little smaller": set_witness("t", lambda b: b.t * fmpq(99, 100) - 2),
    "larger epsilon_r": set_witness("epsilon_r", lambda b: b.epsilon_r + b.epsilon / 50),
    "smaller epsilon_r": set_witness("epsilon_r", lambda b: b.epsilon_r / 100),
    "larger epsilon_s": set_witness("epsilon_s", lambda b: b.epsilon),
    "smaller epsilon_s": set_witness("epsilon_s", lambda b: b.epsilon_s / 10**12),
    "wider ramps": set_witness("eta", lambda b: 16 * b.eta),
    "ramps of 3δ/4": set_witness("eta", lambda b: 3 * b.grid.delta / 4),
    "root_m too small": set_witness("root_m", lambda b: b.root_m - STEP * (1 << 10)),
    "no ramps": set_witness("eta", lambda b: fmpq(0)),
}


@pytest.mark.parametrize("case", BUDGETS[1:4], ids=str)
def test_changed_certificates_of_the_networks_are_rejected(
    case: tuple[int, int, fmpq, fmpq, fmpq], tmp_path: Path
) -> None:
    found = budget(*case)
    documents, names = [], []
    hardmax = universality_hardmax.certificate(found).document()
    softmax = universality_softmax.certificate(found).document()
    for changes, document in ((COMMON, hardmax), (COMMON | SOFTMAX, softmax)):
        for name, change in changes.items():
            documents.append(change(found, document))
            names.append(name)
    answers = verdicts(tmp_path, documents)
    assert [name for name, answer in zip(names, answers, strict=True) if answer != "false"] == []


def test_changed_certificates_of_quantisation_are_rejected(tmp_path: Path) -> None:
    document = quantisation.certificate(2, 1, 3, fmpq(3, 2), fmpq(3)).document()
    first, second = document["witness"]["roots"]
    bound = document["instance"]["bound"]
    below = {**bound, "den": write.integer(1 + whole(bound["den"]))}
    documents = [
        edited(document, "witness", "roots", [second, first]),
        edited(document, "instance", "bound", below),
        edited(document, "instance", "k", 2),
        edited(document, "instance", "L", write.scalar(fmpq(8, 5))),
        edited(document, "instance", "d", 3),
        edited(document, "instance", "p", write.scalar(fmpq(2))),
    ]
    assert set(verdicts(tmp_path, documents)) == {"false"}


def whole(value: Json) -> int:
    return int(value, 16) if isinstance(value, str) else int(value)


def test_changed_certificates_of_the_map_are_rejected(tmp_path: Path) -> None:
    """G one too small for the bound, a G with collisions enumerated, another context, the same place twice."""
    map = ContextualMap(Grid(1, 2, 2), ContextualMap(Grid(1, 2, 2)).sufficient_shift())
    by_bound = contextual_mapping.distinct_certificate(map, "bound").document()
    enumerated = contextual_mapping.distinct_certificate(map, "enumeration").document()
    equal = collision_certificate().document()
    first, second = equal["witness"]["contexts"]
    columns = equal["witness"]["columns"]
    flipped = [1 - first[0], *first[1:]]
    documents = [
        edited(by_bound, "instance", "G", write.integer(map.G - 1)),
        edited(enumerated, "instance", "G", write.integer(2**11)),
        edited(equal, "witness", "contexts", [flipped, second]),
        edited(equal, "witness", "contexts", [first, first]),
        edited(equal, "witness", "columns", columns[::-1]),
        edited(equal, "instance", "G", write.integer(2**11 + 1)),
    ]
    documents[3]["witness"]["columns"] = [columns[0], columns[0]]
    assert verdicts(tmp_path, documents) == ["false"] * len(documents)
