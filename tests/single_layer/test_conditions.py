"""Each condition of a separation dropped in turn, from certificates of made pairs: the kernel never says true.

Every edit starts from an accepted certificate and changes what one condition asks for; the others still hold.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import pytest
from flint import fmpq
from layer_instances import judged

from constructions.numbers.rational import RationalMatrix, column_vector, dot
from constructions.single_layer.pair import UnmemorizablePair, closeness_pair, cone_pair, unmemorizable_pair
from constructions.transformer import Attention, FeedForward, Head, Layer
from verify import certificate as write
from verify.certificate import canonical, seal
from verify.claims.unmemorizable_pair import certificate
from verify.instances import random_head, random_layer, random_matrix

Json = dict[str, Any]
COUNT = 12


def text(document: Json) -> str:
    return canonical(seal(document)) + "\n"


def fold(d: int, rng: random.Random) -> FeedForward:
    """z ↦ z − 2 ReLU(z_i) e_i and a second fold: several preimages."""
    r = min(d, 2)
    W = RationalMatrix.of([[int(i == j) for j in range(d)] for i in range(r)])
    return FeedForward(W, random_matrix(rng, r, 1), W.T.scaled(-2), RationalMatrix.zeros(d, 1))


def made(k: int, kind: str) -> UnmemorizablePair:
    rng = random.Random(f"conditions/{kind}/{k}")
    d = rng.randint(3, 4)
    if kind == "folded":
        layer = Layer(random_layer(rng, d).attention, fold(d, rng))
        return unmemorizable_pair(layer)
    if kind == "two heads":
        return unmemorizable_pair(random_layer(rng, d, heads=2, s=d // 2, r=2), head=k % 2)
    layer = random_layer(rng, d, r=rng.choice([0, 2, 3]))
    token, z_1, z_2 = (random_matrix(rng, d, 1) for _ in range(3))
    y_1, y_2 = (layer.mlp(z).column(0) for z in (z_1, z_2))  # type: ignore[attr-defined]
    construct = closeness_pair if kind == "closeness" else cone_pair
    return construct(layer, token.column(0), y_1, y_2)


def documents(kind: str) -> list[tuple[UnmemorizablePair, Json]]:
    found = []
    for k in range(COUNT):
        pair = made(k, kind)
        document = certificate(pair.model, pair.proof).document()
        assert judged(text(document))[0] == "true"
        found.append((pair, document))
    return found


def steps(document: Json) -> list[Json]:
    return [step for line in document["witness"]["pairs"] for step in line]


def test_contexts_that_pull_the_wrong_way() -> None:
    """w·A_1 < 0 < w·A_2, by exchanging the contexts: made cone pairs have w·A_1 = 1, w·A_2 = −1."""
    for _, document in documents("cone"):
        first, second = document["instance"]["queries"]
        first["X"], second["X"] = second["X"], first["X"]
        verdict, sentence = judged(text(document))
        assert verdict == "false"
        assert "w.B_1 >= 0 fails" in sentence


def test_one_context_that_pulls_the_wrong_way() -> None:
    """Only w·A_2 has the wrong sign: both queries see the first context."""
    for _, document in documents("cone"):
        first, second = document["instance"]["queries"]
        second["X"] = first["X"]
        assert "w.B_2 <= 0 fails" in judged(text(document))[1]


def test_preimage_inequalities_violated() -> None:
    """Targets and their preimages exchanged: w·a_1 ≥ 0 ≥ w·a_2, refused wherever one of the two is strict."""
    refused = 0
    for pair, document in documents("cone"):
        queries, witness = document["instance"]["queries"], document["witness"]
        queries[0]["target"], queries[1]["target"] = queries[1]["target"], queries[0]["target"]
        witness["preimages"].reverse()
        token = pair.data.examples[0].X.column(1)
        points = [preimage.pieces[0].point for preimage in pair.proof.preimages]
        w = pair.proof.pairs[0][0].w
        strict = any(dot(w, [z - x for z, x in zip(point or (), token, strict=True)]) != 0 for point in points)
        verdict, sentence = judged(text(document))
        assert verdict == ("false" if strict else "true"), sentence
        refused += strict
    assert refused >= COUNT // 2


@pytest.mark.parametrize("kind", ["cone", "closeness", "folded", "two heads"])
def test_four_equalities(kind: str) -> None:
    """w = 0 (multipliers 0): everything is met with equality, and nothing is proved."""
    for pair, document in documents(kind):
        d, r = pair.model.width, pair.model.layers[0].mlp.hidden
        for step in steps(document):
            step["w"] = write.vector([fmpq(0)] * d)
            step["multipliers"] = [None if m is None else write.vector([fmpq(0)] * r) for m in step["multipliers"]]
        verdict, sentence = judged(text(document))
        assert verdict == "false"
        assert "no inequality is strict" in sentence


def test_four_equalities_with_a_vector() -> None:
    """w ≠ 0 orthogonal to the outputs and the shifted preimages."""
    I = RationalMatrix.identity(3)
    layer = Layer(Attention((Head(I, I, I),)), FeedForward.none(3))
    pair = cone_pair(layer, [1, 0, 0], [1, 1, 0], [2, 2, 0])
    document = certificate(pair.model, pair.proof).document()
    for query in document["instance"]["queries"]:
        query["X"]["num"][2] = [0] * len(query["X"]["num"][2])
    document["witness"]["pairs"][0][0]["w"] = write.vector([fmpq(0), fmpq(0), fmpq(5)])
    assert judged(text(document)) == ("false", "pairs[0][0]: no inequality is strict")


def test_another_head_that_w_sees() -> None:
    """A further head with w^T V_2 ≠ 0; one with w^T V_2 = 0 changes nothing."""
    for k, (pair, document) in enumerate(documents("cone")):
        rng = random.Random(k)
        w = list(pair.proof.pairs[0][0].w)
        other = random_head(rng, len(w), 1)
        column = other.W_o.column(0)
        across = RationalMatrix.of([w]).nullspace()[0]
        for W_o, expected in ((across, "true"), (column if dot(w, column) != 0 else w, "false")):
            head = Head(other.W_q, other.W_k, other.W_v, column_vector(W_o))
            edited = copy.deepcopy(document)
            edited["instance"]["layer"]["heads"].append(write.head(head))
            verdict, sentence = judged(text(edited))
            assert verdict == expected, sentence
            assert expected == "true" or "does not vanish on head 1" in sentence


def test_the_wrong_head() -> None:
    """With two heads the same w at the other head fails: it sees nothing there, or it does not vanish."""
    for _, document in documents("two heads"):
        for step in steps(document):
            step["head"] = 1 - step["head"]
        assert judged(text(document))[0] == "false"


def test_different_logit_vectors() -> None:
    """The second query asks at a token with another logit vector: the prompts' shares no longer cancel."""
    refused = 0
    for kind in ("cone", "closeness", "folded"):
        for pair, document in documents(kind):
            head = pair.model.layers[0].attention.heads[0]
            X = pair.data.examples[1].X
            q = head.logit_vectors(X)
            if q.column(0) == q.column(1):
                continue
            document["instance"]["queries"][1]["column"] = 0
            verdict, sentence = judged(text(document))
            assert verdict == "false"
            assert "logit vectors of the two queries differ" in sentence
            refused += 1
    assert refused >= 2 * COUNT


def test_equal_logit_vectors_of_different_tokens_are_fine() -> None:
    """What is compared is q, not the token: W_q x_1 = W_q x_2 for different x is accepted."""
    W_q, I = RationalMatrix.of([[1, 0], [0, 0]]), RationalMatrix.identity(2)
    layer = Layer(Attention((Head(W_q, I, I),)), FeedForward.none(2))
    pair = cone_pair(layer, [1, 0], [1, -1], [1, 3])
    document = certificate(pair.model, pair.proof).document()
    w = pair.proof.pairs[0][0].w
    queries = document["instance"]["queries"]
    move = [fmpq(0), fmpq(1) if w[1] < 0 else fmpq(-1)]  # x_2 = x_0 + move: w·a_2 grows, and so do B_2's terms
    tokens = [pair.data.examples[1].X.column(0), [a + b for a, b in zip([fmpq(1), fmpq(0)], move, strict=True)]]
    queries[1]["X"] = write.matrix(RationalMatrix.of_columns(tokens))
    verdict, sentence = judged(text(document))
    assert "logit vectors" not in sentence
    assert verdict == "true", sentence


def test_wrong_leaf_multipliers() -> None:
    """Multipliers changed one by one: those that are still accepted give a bound that is at least the exact maximum on
    the piece (a weaker bound that still separates), the others are refused."""
    refused = accepted = 0
    for pair, document in documents("folded")[:3]:
        for i, line in enumerate(pair.proof.pairs):
            for j, separation in enumerate(line):
                pieces = (pair.proof.preimages[0].pieces[i], pair.proof.preimages[1].pieces[j])
                for side, w in ((0, separation.w), (1, [-x for x in separation.w])):
                    best = pieces[side].upper(w)
                    assert best is not None
                    assert best[1] is not None
                    for unit in range(len(best[1])):
                        for change in (fmpq(1), fmpq(-1), fmpq(1, 1000), -2 * best[1][unit], fmpq(100)):
                            new = list(best[1])
                            new[unit] += change
                            edited = copy.deepcopy(document)
                            edited["witness"]["pairs"][i][j]["multipliers"][side] = write.vector(new)
                            verdict, sentence = judged(text(edited))
                            if verdict == "true":
                                problem = pieces[side].problem
                                assert dot(w, problem.offset) + dot(new, problem.c) >= best[0]
                                accepted += 1
                            else:
                                assert verdict == "false", sentence
                                refused += 1
                edited = copy.deepcopy(document)
                edited["witness"]["pairs"][i][j]["multipliers"][0] = None
                assert judged(text(edited))[0] == "not a certificate"
    assert refused >= 40
    assert accepted >= 10


def tree_leaves(node: Json) -> list[Json]:
    return tree_leaves(node["active"]) + tree_leaves(node["inactive"]) if "unit" in node else [node]


def test_a_missing_leaf_or_piece() -> None:
    """A piece called empty (and its row of separations removed), a row or entry removed, a leaf removed."""
    called_empty = 0
    for pair, document in documents("folded"):
        r = pair.model.layers[0].mlp.hidden
        for side in (0, 1):
            tree = document["witness"]["preimages"][side]["tree"]
            pieces = [k for k, leaf in enumerate(tree_leaves(tree)) if leaf["leaf"] == "piece"]
            for number, k in enumerate(pieces):
                for multipliers in ([0] * r, [-1] * r, [1] * r, [-1, 0][:r], [0, -1][:r], [1, 0][:r], [0, 1][:r]):
                    edited = copy.deepcopy(document)
                    leaf = tree_leaves(edited["witness"]["preimages"][side]["tree"])[k]
                    leaf.update({"leaf": "empty", "multipliers": {"den": 1, "num": multipliers}})
                    table = edited["witness"]["pairs"]
                    edited["witness"]["pairs"] = (
                        [line for i, line in enumerate(table) if i != number]
                        if side == 0
                        else [[s for j, s in enumerate(line) if j != number] for line in table]
                    )
                    assert judged(text(edited))[0] == "false"
                    called_empty += 1
            edited = copy.deepcopy(document)
            if side == 0:
                edited["witness"]["pairs"].pop()
            else:
                edited["witness"]["pairs"][0].pop()
            assert judged(text(edited))[0] == "not a certificate"
            edited = copy.deepcopy(document)
            node = edited["witness"]["preimages"][side]["tree"]
            if "unit" in node:
                del node["inactive"]
                assert judged(text(edited))[0] == "not a certificate"
    assert called_empty >= 100


EDITS: dict[str, tuple[Callable[[Json], None], str]] = {
    "z moved": (lambda c: bump(c["witness"]["preimages"][0]["z"]), "MLP(z) is not the target"),
    "target moved": (lambda c: bump(c["instance"]["queries"][1]["target"]), "MLP(z) is not the target"),
    "bias moved": (lambda c: bump(c["instance"]["layer"]["mlp"]["b_2"]), "MLP(z) is not the target"),
    "factor too large": (
        lambda c: c["witness"]["preimages"][0]["factor"].update(
            num=[[100 * c["witness"]["preimages"][0]["factor"]["den"]] * 2] * 2
        ),
        "positive definite",
    ),
}


def bump(vector: Json) -> None:
    vector["num"][0] += vector["den"]


@pytest.mark.parametrize("name", EDITS)
def test_point_proofs(name: str) -> None:
    edit, reason = EDITS[name]
    for _, document in documents("two heads"):
        edit(document)
        verdict, sentence = judged(text(document))
        assert verdict == "false"
        assert reason in sentence
