"""Mutated certificates: ten thousand single-field changes, sealed again; none is accepted that is false."""

from __future__ import annotations

import copy
import os
from collections import Counter
from itertools import islice, product
from typing import Any

import campaign
import mutation_truth as truth
import pytest

from verify.certificate import canonical, seal

Json = Any
COUNT = {"nightly": 200_000}.get(os.environ.get("HYPOTHESIS_PROFILE", ""), 10_000)
SEED = 0


@pytest.fixture(scope="module")
def documents() -> list[Json]:
    return campaign.pool(SEED)


def test_the_pool_is_valid_and_varied(documents: list[Json]) -> None:
    """Every certificate is accepted, and true by both ways of the second evaluation; all kinds of witness occur."""
    kinds: Counter[str] = Counter()
    for document in documents:
        assert campaign.ask_kernel(canonical(document) + "\n")[0] == "true"
        assert truth.witness_holds(document)
        assert truth.relation_holds(document)
        witness = document["witness"]
        kinds[document["claim"]] += 1
        kinds[document["relation"]] += 1
        kinds[str(witness.get("argument"))] += 1
        for line in witness.get("pairs", []):
            kinds.update(step["argument"] for step in line)
            kinds.update("several pieces" for step in line if len(line) > 1)
        for proof in witness.get("preimages", []):
            kinds[proof["kind"]] += 1
        arguments = [argument.get("argument", "of heads") for argument in witness.get("combinations", [])]
        kinds.update(arguments)
        kinds.update(f"{document['claim']}, several points" for _ in arguments[1:2])
        kinds.update("a cut of a box" for x in witness.get("combinations", []) if "group" in x.get("tree", x))
        kinds.update(
            "out of reach" for x in witness.get("combinations", []) if "query" in x and "w" in x and len(x) == 2
        )
        kinds.update("a fixed mass" for place in witness.get("equations", []) if place is not None)
    for kind in (*truth.CLAIMS, "norm-product", "monotone", "separation", "out-of-range", "contradictory-data", "cone",
                 "closeness", "several pieces", "tree", "point", "memorizable", "no-prompt-memorizes", "range", "sign",
                 "masses", "entropy", "integer", "length", "several-queries, several points", "a cut of a box",
                 "a fixed mass", "prompt-law, several points", "of heads", "out of reach", "memorizable-shared",
                 "stuck"):  # fmt: skip
        assert kinds[kind] >= 2, (kind, kinds)


def test_no_mutation_is_accepted_that_is_false(documents: list[Json]) -> None:
    tally = campaign.run(COUNT, SEED, documents)
    print("\n".join(tally.lines()))
    assert not tally.bad, [(outcome, mutant.kind, mutant.path, text) for outcome, mutant, text in tally.bad[:3]]
    assert tally.total == COUNT
    assert tally.unsure == 0
    assert tally.count("accepted and false") == 0
    # the campaign is not empty: every outcome and every kind of change occurs often
    assert tally.count("rejected: false") >= COUNT // 10
    assert tally.count("rejected: not a certificate") >= COUNT // 10
    assert tally.count("accepted and true") >= COUNT // 20
    assert all(tally.claims[claim, "rejected: false"] >= COUNT // 100 for claim in truth.CLAIMS)
    kinds = Counter(kind for kind, _ in tally.kinds.elements())
    assert all(kinds[kind] >= 20 for kind in (*campaign.KINDS, "field doubled")), kinds


def test_the_real_process_agrees(documents: list[Json]) -> None:
    """A sample through `python3 -I verify/kernel`: the same verdicts as in this process."""
    sample = list(islice(campaign.Mutants(documents, seed=1), 300))
    seen: Counter[str] = Counter()
    for mutant, verdict in campaign.through_the_process(sample):
        assert verdict == campaign.ask_kernel(mutant.text)[0], mutant
        seen[verdict] += 1
    assert min(seen["true"], seen["false"], seen["not a certificate"]) >= 20


def test_mutations_are_reproducible(documents: list[Json]) -> None:
    one, two = (list(islice(campaign.Mutants(documents, seed=5), 50)) for _ in range(2))
    assert one == two
    assert campaign.pool(SEED) == documents


def nodes(node: Json, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Json]]:
    if "unit" not in node:
        return [(path, node)]
    below = [nodes(node[side], (*path, side)) for side in ("active", "inactive")]
    return [(path, node), *below[0], *below[1]]


def test_dropped_leaves_of_preimage_trees_are_rejected(documents: list[Json]) -> None:
    """Each leaf of each tree dropped: a piece called empty by all small multipliers, with its separations removed; an
    empty leaf with its multipliers removed or zero; a branch replaced by one side. None is accepted unless the
    second evaluation finds the remaining tree complete."""
    pieces = branches = empties = 0
    for document in documents:
        witness = document["witness"]
        if document["claim"] != "unmemorizable-pair":
            continue
        r = len(document["instance"]["layer"]["mlp"]["b_1"]["num"])
        trees = [("preimages", k) for k in range(2)] if "preimages" in witness else [("preimage",)]
        for where in trees:
            proof = campaign.at(witness, where) if "preimage" in witness or "preimages" in witness else {}
            if proof.get("kind") != "tree":
                continue
            number = 0
            for path, node in nodes(proof["tree"]):
                full = ("witness", *where, "tree", *path)
                if node.get("leaf") == "piece":
                    for multipliers in product((-1, 0, 1), repeat=r):
                        leaf = {"leaf": "empty", "multipliers": {"den": 1, "num": list(multipliers)}}
                        edited = copy.deepcopy(campaign.changed(document, full, leaf))
                        table = edited["witness"]["pairs"]
                        if where[1] == 0:
                            del table[number]
                        else:
                            edited["witness"]["pairs"] = [line[:number] + line[number + 1 :] for line in table]
                        verdict, sentence = campaign.ask_kernel(canonical(seal(edited)) + "\n")
                        assert verdict == "false", sentence
                        assert "empty leaf" in sentence
                        pieces += 1
                    number += 1
                elif node.get("leaf") == "empty":
                    for leaf in ({"leaf": "empty"}, {"leaf": "empty", "multipliers": {"den": 1, "num": [0] * r}}):
                        edited = campaign.changed(document, full, leaf)
                        assert campaign.ask_kernel(canonical(seal(edited)) + "\n")[0] != "true"
                        empties += 1
                else:
                    for side in ("active", "inactive"):
                        edited = seal(campaign.changed(document, full, node[side]))
                        verdict, sentence = campaign.ask_kernel(canonical(edited) + "\n")
                        if verdict == "true":
                            assert truth.witness_holds(edited)
                            assert truth.relation_holds(edited)
                        branches += 1
    print(f"dropped: {pieces} pieces, {empties} empty leaves, {branches} branches")
    assert pieces >= 100
    assert empties >= 20
    assert branches >= 20


SABOTAGE: dict[str, tuple[str, str, Any]] = {
    "empty leaves are believed": ("preimage", "Preimage.demand_covered", lambda self, where: None),
    "identities are believed": ("expsum", "ExpSum.equals", lambda self, other: True),
    "signs are believed": ("unmemorizable_pair", "demand", lambda condition, reason: None),
    "factors are believed": ("mlp_injectivity", "is_positive_definite", lambda symmetric, factor: True),
    "bounds are believed": ("preimage", "demand", lambda condition, reason: None),
    "masses are believed": ("no_prompt", "demand", lambda condition, reason: None),
    "points are believed": ("criterion", "Criterion.demand_positive", lambda self, box, where: None),
    "directions are believed": ("heads_memorizable", "demand", lambda condition, reason: None),
    "flows are believed": ("heads_stuck", "demand", lambda condition, reason: None),
    "shared masses are believed": ("heads_shared", "demand_equations", lambda *about: None),
    "boxes of heads are believed": ("heads_refuted", "HeadsRefuted._demand_refuted", lambda self, *about: None),
    "boxes are believed": ("criterion", "Criterion.demand_refuted", lambda self, *about: None),
}


@pytest.mark.parametrize("name", SABOTAGE)
def test_the_campaign_catches_a_broken_kernel(name: str, documents: list[Json], monkeypatch: Any) -> None:
    """Negative control: with one check of the kernel switched off the same campaign finds false acceptances."""
    module, target, broken = SABOTAGE[name]
    owner = __import__(module)
    *inside, attribute = target.split(".")
    for part in inside:
        owner = getattr(owner, part)
    monkeypatch.setattr(owner, attribute, broken)
    tally = campaign.Tally()
    for mutant in islice(campaign.Mutants(documents, SEED), 2500):
        campaign.judge(mutant, tally)
        if tally.count("accepted and false"):
            return
    pytest.fail(f"not found: {tally.lines()}")
