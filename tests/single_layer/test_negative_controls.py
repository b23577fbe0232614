"""Negative controls: data that a prompt does memorize are never called unmemorizable, by the decision or the kernel."""

from __future__ import annotations

import random
from collections import Counter
from itertools import combinations
from typing import Any

import pytest
from flint import fmpq
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_instances import judged
from memorizable_data import FAMILIES, Memorizable, memorizable

from constructions.numbers.exponential_matrix import ExpMatrix
from constructions.numbers.rational import RationalMatrix, column_vector
from constructions.single_layer.context import HeadView
from constructions.single_layer.decide import decide
from constructions.single_layer.preimage import Branch, Leaf, Piece, Preimage, Tree, leaf_bound, preimage
from constructions.single_layer.separation import (
    NoSeparation,
    PairOfQueries,
    Separation,
    Unmemorizable,
    separate,
    shared_heads,
)
from constructions.verdict import Evidence, Memorization
from verify import certificate as write
from verify.certificate import Certificate
from verify.claims.unmemorizable_pair import certificate
from verify.instances import random_matrix

BLOCK = 2 * settings.default.max_examples
"""Datasets in each of four blocks: 50, in the nightly profile 2000."""


def prompt_meets_all(m: Memorizable) -> bool:
    """The model's own forward on [P, X] gives every target, exactly."""
    for query in m.data.queries(m.model):
        P, E = m.prompt, m.model.E
        P = P if E is None else RationalMatrix(P.mat + E.columns(0, P.shape[1]).mat)
        # `context` has the embedding of its columns and is cut off under a mask
        output = m.model.layers[0].output(P.hstack(query.context), P.shape[1] + query.column)
        goal: Any = column_vector(list(query.target))
        if (ExpMatrix.embed(goal) if isinstance(output, ExpMatrix) else goal) != output:
            return False
    return True


@pytest.mark.parametrize("block", range(4))
def test_memorizable_data_are_never_called_unmemorizable(block: int) -> None:
    """Datasets that are each built from a prompt; asked for prompts of any length, or of at most that prompt's."""
    families: Counter[str] = Counter()
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        m = memorizable(seed)
        families[m.family] += 1
        decision = decide(m.model, m.data, m.prompt.shape[1] if seed % 2 else None)
        assert decision.verdict is not Memorization.UNMEMORIZABLE, (seed, decision)
        if seed % 10 == 0:
            assert prompt_meets_all(m), seed
    assert set(families) == set(FAMILIES)
    assert min(families.values()) >= BLOCK // 10


@given(st.text(max_size=8))
def test_memorizable_data_from_any_seed(seed: str) -> None:
    m = memorizable(seed)
    assert prompt_meets_all(m)
    assert decide(m.model, m.data).verdict is not Memorization.UNMEMORIZABLE


def test_the_named_mass_is_the_prompts_mass() -> None:
    """Where the one solution s of the closeness equation is named, it is the mass of the prompt the data came from
    (given both preimages are single points)."""
    agreed = 0
    for seed in range(200):
        m = memorizable(seed)
        layer = m.model.layers[0]
        if m.model.E is not None:
            continue
        queries = list(m.data.queries(m.model))
        for first, second in combinations(queries, 2):
            for head in shared_heads(layer, first, second):
                pieces = [preimage(layer.mlp, q.target).pieces for q in (first, second)]
                if [len(p) for p in pieces] != [1, 1] or not all(p[0].is_point for p in pieces):
                    continue
                answer = PairOfQueries.of(layer, head, first, second).search((pieces[0][0], pieces[1][0]))
                assert isinstance(answer, NoSeparation)
                if answer.mass is None:
                    continue
                assert answer.mass.sign() > 0
                prompt = HeadView.of(layer.attention.heads[head], first.token, m.prompt)
                assert answer.mass.numerator == answer.mass.denominator * prompt.mass
                agreed += 1
    assert agreed >= 25


# --- forged certificates -----------------------------------------------------------------------------------------


def pairs_of_queries(m: Memorizable):
    queries = list(m.data.queries(m.model))
    layer = m.model.layers[0]
    return [
        (layer, first, second, (preimage(layer.mlp, first.target), preimage(layer.mlp, second.target)))
        for first, second in combinations(queries, 2)
    ]


def some_multipliers(piece: Piece, w: list[fmpq]) -> tuple[fmpq, ...] | None:
    """The best ones where there are any, else zeros; None for the point of an injective MLP."""
    if piece.signs is None:
        return None
    bound = piece.upper(w)
    return bound[1] if bound is not None else (fmpq(0),) * len(piece.problem.c)


def vectors_to_try(rng: random.Random, view: PairOfQueries, pieces: tuple[Piece, Piece]) -> list[list[fmpq]]:
    """Vectors w: random ones, units, the difference of the preimages, and what no other head reaches."""
    d = view.layer.width
    found = [random_matrix(rng, d, 1).column(0) for _ in range(2)]
    found += [[fmpq(sign * int(i == j)) for i in range(d)] for j in range(d) for sign in (1, -1)]
    if pieces[0].point is not None and pieces[1].point is not None:
        found.append([y - x for x, y in zip(pieces[0].point, pieces[1].point, strict=True)])
    if view.basis.shape[1]:
        t = random_matrix(rng, view.basis.shape[1], 1).column(0)
        found.append(view.basis.apply(t))
    return rng.sample(found, min(4, len(found)))


def test_forged_separations_are_never_accepted() -> None:
    """For memorizable data the relation is false, so no witness may pass: any w, head, argument and multipliers."""
    sentences: Counter[str] = Counter()
    forged = 0
    for seed in range(300):
        m, rng = memorizable(seed), random.Random(f"forge/{seed}")
        for layer, first, second, preimages in pairs_of_queries(m)[:2]:
            for argument in ("cone", "closeness"):
                for trial in range(3):
                    table = []
                    for piece_1 in preimages[0].pieces:
                        line = []
                        for piece_2 in preimages[1].pieces:
                            head = rng.randrange(len(layer.attention.heads))
                            view = PairOfQueries.of(layer, head, first, second)
                            w = rng.choice(vectors_to_try(rng, view, (piece_1, piece_2)))
                            both = some_multipliers(piece_1, w), some_multipliers(piece_2, [-x for x in w])
                            line.append(Separation(argument, head, tuple(w), both))  # type: ignore[arg-type]
                        table.append(tuple(line))
                    proof = Unmemorizable(argument, (first, second), preimages, tuple(table))
                    verdict, sentence = judged(certificate(m.model, proof).text())
                    assert verdict == "false", (seed, argument, trial, sentence)
                    sentences[sentence.split(": ", 1)[-1].split(" (")[0]] += 1
                    forged += 1
    assert forged >= 1200
    # every condition of the format is met by enough of them: what fails is spread over all
    for reason in ("w.B_1 >= 0 fails", "0 >= M_1 fails", "w.B_2 <= 0 fails", "0 <= m_2 fails", "M_1 <= m_2 fails",
                   "w.B_1 - w.B_2 - S_1 M_1 + S_2 m_2 >= 0 fails", "no inequality is strict",
                   "the logit vectors of the two queries differ"):  # fmt: skip
        assert sentences[reason] >= 3, (reason, sentences)
    assert any("does not vanish on head" in reason for reason in sentences), sentences


def test_other_arguments_are_never_accepted() -> None:
    """contradictory-data and out-of-range for memorizable data."""
    for seed in range(300):
        m, rng = memorizable(seed), random.Random(f"forge-other/{seed}")
        for _, first, second, preimages in pairs_of_queries(m)[:1]:
            contradiction = Unmemorizable("contradictory-data", (first, second))
            assert judged(certificate(m.model, contradiction).text())[0] == "false"
            r = m.model.layers[0].mlp.hidden
            multipliers = tuple(fmpq(rng.randint(-3, 0)) for _ in range(r))
            tree = without_pieces(preimages[0].tree or Leaf(None, multipliers), multipliers)
            forged = Preimage(preimages[0].problem, None, tree, ())
            empty = Unmemorizable("out-of-range", (first,), (forged,))
            assert judged(certificate(m.model, empty).text())[0] == "false"


def without_pieces(tree: Tree, multipliers: tuple[fmpq, ...], only: tuple[bool, ...] | None = None) -> Tree:
    """The tree with its pieces (or only the one of this pattern) called empty."""
    if isinstance(tree, Branch):
        return Branch(
            tree.unit, without_pieces(tree.active, multipliers, only), without_pieces(tree.inactive, multipliers, only)
        )
    if tree.piece is None or (only is not None and tree.piece.signs != only):
        return tree
    return Leaf(None, multipliers)


def collapsed(tree: Tree, signs: tuple[bool, ...]) -> list[Tree]:
    """The tree with one branch on the way to the piece ``signs`` replaced by the other side of that branch."""
    if isinstance(tree, Leaf):
        return []
    if signs[tree.unit]:
        return [tree.inactive] + [Branch(tree.unit, t, tree.inactive) for t in collapsed(tree.active, signs)]
    return [tree.active] + [Branch(tree.unit, tree.active, t) for t in collapsed(tree.inactive, signs)]


def kept_pieces(tree: Tree) -> list[Piece]:
    if isinstance(tree, Branch):
        return kept_pieces(tree.active) + kept_pieces(tree.inactive)
    return [] if tree.piece is None else [tree.piece]


def test_a_dropped_leaf_is_rejected() -> None:
    """Memorizable data whose prompt uses one preimage piece, all other pieces separated validly: dropping that piece
    (called empty, or its branch replaced by the other side) would prove a falsehood, and is rejected every time."""
    dropped = 0
    for seed in range(3000):
        m = memorizable(seed)
        if m.model.layers[0].mlp.hidden == 0:
            continue
        for layer, first, second, preimages in pairs_of_queries(m)[:1]:
            if not shared_heads(layer, first, second) or sum(len(p.pieces) for p in preimages) < 3:
                continue
            for k, query in enumerate((first, second)):
                for victim in preimages[k].pieces if preimages[k].tree is not None else ():
                    rest = tuple(piece for piece in preimages[k].pieces if piece is not victim)
                    if not rest:
                        continue
                    tree = preimages[k].tree
                    assert tree is not None
                    assert victim.signs is not None
                    problem, r = preimages[k].problem, len(preimages[k].problem.c)
                    guess = leaf_bound(problem, dict(enumerate(victim.signs)), [fmpq(0)] * r)
                    tries = [(fmpq(0),) * r, (fmpq(-1),) * r, guess.multipliers if guess else (fmpq(1),) * r]
                    trees = [without_pieces(tree, x, victim.signs) for x in tries] + collapsed(tree, victim.signs)
                    for forged_tree in trees:
                        forged = Preimage(problem, None, forged_tree, tuple(kept_pieces(forged_tree)))
                        both = (forged, preimages[1]) if k == 0 else (preimages[0], forged)
                        answer = separate(layer, first, second, both)
                        if isinstance(answer, NoSeparation):
                            continue
                        verdict, sentence = judged(certificate(m.model, answer).text())
                        assert verdict != "true", (seed, str(query), sentence)
                        dropped += 1
        if dropped >= 200:
            break
    assert dropped >= 200


def test_a_folding_mlp_is_never_a_point() -> None:
    """A preimage of the kind "point" needs M + M^T positive definite: no factor shows that where a target has two."""
    refused = 0
    for seed in range(300):
        m, rng = memorizable(seed), random.Random(f"point/{seed}")
        for _, first, second, preimages in pairs_of_queries(m)[:1]:
            points = preimages[0].points
            if points is None or len(points) < 2 or preimages[1].points is None:
                continue
            r = m.model.layers[0].mlp.hidden
            forged = []
            for p in preimages:
                z = (p.points or [()])[0]
                factor = random_matrix(rng, r, r, denominator=4)
                forged.append({"kind": "point", "z": write.vector(z), "factor": write.matrix(factor)})
            instance = {"layer": write.layer(m.model), "queries": [write.query(q) for q in (first, second)]}
            step = {"argument": "cone", "head": 0, "w": write.vector([fmpq(1)] * m.model.width),
                    "multipliers": [None, None]}  # fmt: skip
            witness = {"argument": "separation", "preimages": forged, "pairs": [[step]]}
            made = Certificate("unmemorizable-pair", "no-prompt-memorizes", Evidence.EXACT, instance, witness)
            verdict, sentence = judged(made.text())
            assert verdict == "false"
            assert "positive definite" in sentence
            refused += 1
    assert refused >= 10
