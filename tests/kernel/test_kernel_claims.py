"""Each claim: certificates that hold, and each condition violated in turn."""

import copy
import re
from collections.abc import Callable
from typing import Any

import kernel_certificates as make
import kernel_oracle as oracle
import pytest
from kernel_certificates import changed, fractions, matrix, point, query, scalar, seal, tree, vector

Judge = Callable[[bytes], tuple[str, str]]
Json = Any

STEP = ("witness", "pairs", 0, 0)
FIRST = ("instance", "queries", 0)
SECOND = ("instance", "queries", 1)
LAYER = ("instance", "layer")


def edited(name: str, **edits: Json) -> Json:
    """A named true certificate after edits (path, new value)."""
    value = make.TRUE[name]
    for path, new in edits.values():
        value = changed(value, path, new)
    return value


def at_target(k: int, z: list[Json]) -> dict[str, Json]:
    """Edits that move target and preimage point of query k (no hidden units, no bias)."""
    return {
        "target": (("instance", "queries", k, "target"), vector(z)),
        "point": (("witness", "preimages", k), point(z)),
    }


@pytest.mark.parametrize("name", make.TRUE)
def test_true(name: str, judge: Judge) -> None:
    verdict, text = judge(seal(make.TRUE[name]))
    assert verdict == "true", text
    assert text.startswith(make.TRUE[name]["claim"] + ": ")
    assert "\n" not in text
    assert oracle.holds(make.TRUE[name])


def test_the_sentence_names_the_prompt_length(judge: Judge) -> None:
    assert "no prompt of length 1 makes" in judge(seal(make.TRUE["cone, mask and E"]))[1]
    assert "no prompt of any length >= 1 makes" in judge(seal(make.TRUE["cone"]))[1]


def other_head(d: int = 2, **fields: Json) -> Json:
    return make.head(d, W_q=[[1] * d], W_k=[[1] * d], W_v=[[1] * d], **fields)


FALSE: dict[str, tuple[Json, str]] = {
    # contradictory data
    "contexts differ": (edited("contradictory", a=((*FIRST, "X", "num", 0, 0), 4)), "contexts"),
    "contexts of different lengths": (
        edited("contradictory", a=((*FIRST, "X"), matrix([[1], [1]])), b=((*FIRST, "column"), 0)),
        "contexts",
    ),
    "tokens differ": (edited("contradictory", a=((*FIRST, "column"), 0)), "tokens"),
    "targets agree": (edited("contradictory", a=((*FIRST, "target"), vector([1, 3]))), "targets"),
    # out of range
    "a piece is left": (make.out_of_range(make.branch(0, make.PIECE, make.empty([-1]))), "has a piece"),
    "a point": (edited("out of range", a=(("witness", "preimage"), point([1], [[0]]))), "has a piece"),
    "bound is zero": (make.out_of_range(make.empty([0])), "not negative"),
    "multiplier positive": (make.out_of_range(make.branch(0, make.empty([-1]), make.empty([1]))), "positive"),
    "target in range": (
        edited(
            "out of range",
            a=((*FIRST, "target"), vector([-1])),
            b=(("witness", "preimage"), tree(make.branch(0, make.empty([-1]), make.empty([1])))),
        ),
        "not negative",
    ),
    # M^T l = 1 < 0 fails where the unit is not fixed inactive: MLP(z) = z + 2 ReLU(z) takes every value
    "bound fails at a unit": (
        edited(
            "out of range",
            a=((*LAYER, "mlp", "W_2"), matrix([[2]])),
            b=(("witness", "preimage"), tree(make.empty([-1]))),
        ),
        "bound fails at unit 0",
    ),
    # separation, the cone
    "1. logit vectors differ": (edited("cone", a=((*FIRST, "column"), 0)), "logit vectors"),
    "2. w sees another head": (
        edited("cone", a=((*LAYER, "heads"), [make.head(), other_head(W_o=[[1], [0]])])),
        "head 1",
    ),
    "3. point is no preimage": (edited("cone", a=((*FIRST, "target"), vector([-2, 6]))), "not the target"),
    "3. point may not be the only one": (
        edited("cone, two heads", a=(("witness", "preimages", 0, "factor"), matrix([[2, 0], [0, 1]]))),
        "positive definite",
    ),
    "3. multiplier of the wrong sign": (
        edited("cone, trees", a=(("witness", "pairs", 1, 0, "multipliers", 0), vector([1]))),
        "multiplier 0 is positive",
    ),
    "3. multiplier too weak": (
        edited("cone, trees", a=(("witness", "pairs", 0, 0, "multipliers", 0), vector([-1]))),
        "bound fails at unit 0",
    ),
    "3. second multiplier too weak": (
        edited("cone, trees", a=(("witness", "pairs", 0, 0, "multipliers", 1), vector([3]))),
        "second query: the bound fails at unit 0",
    ),
    "3. a whole tree in one piece": (
        edited(
            "cone, trees",
            a=(("witness", "preimages", 0), tree(make.PIECE)),
            b=(("witness", "pairs"), lambda rows: rows[1:]),
        ),
        "bound fails",
    ),
    "4. first context on the wrong side": (edited("cone", a=((*FIRST, "X", "num", 0, 0), -3)), "w.B_1 >= 0 fails"),
    "4. first query on the wrong side": (edited("cone", **at_target(0, [1, 5])), "0 >= M_1 fails"),
    "4. second context on the wrong side": (edited("cone", a=((*SECOND, "X", "num", 0, 0), 3)), "w.B_2 <= 0 fails"),
    "4. second query on the wrong side": (edited("cone", **at_target(1, [-1, 0])), "0 <= m_2 fails"),
    "4. nothing is strict": (
        edited(
            "cone",
            a=((*FIRST, "X", "num", 0, 0), 0),
            b=((*SECOND, "X", "num", 0, 0), 0),
            c=((*SECOND, "target"), vector([0, 0])),
            d=(("witness", "preimages", 1), point([0, 0])),
            **at_target(0, [0, 5]),
        ),
        "strict",
    ),
    "4. w is zero": (edited("cone", a=((*STEP, "w"), vector([0, 0]))), "strict"),
    # separation, closeness
    "4. contexts are not close": (make.closeness_points("-8"), "S_1 M_1"),
    "4. targets in the wrong order": (edited("closeness", a=((*STEP, "w"), vector([-1, 0]))), "M_1 <= m_2 fails"),
    "4. nothing is strict, closeness": (
        edited("closeness", a=((*SECOND, "X"), matrix([[3, 0], [0, 1]])), **at_target(1, [4, 7])),
        "strict",
    ),
    "4. closeness with w = 0": (edited("closeness", a=((*STEP, "w"), vector([0, 0]))), "strict"),
    "mask: an unmasked column spoils the cone": (edited("cone, mask and E", a=((*LAYER, "causal"), False)), "w.B_1"),
    "embedding: another one spoils the cone": (
        edited("cone, mask and E", a=((*LAYER, "E"), matrix([[7, -3, 0, 0], [7, 0, 1, 0]]))),
        "w.B_1",
    ),
    # attention split
    "fraction is not the mass ratio": (make.split(fractions([make.exp_sum(("1/2", 0))])), "head 0: .*S_X"),
    "fraction is 0": (make.split(fractions([make.exp_sum()])), "not positive"),
    "fraction is 1": (make.split(fractions([make.exp_sum((1, 0))])), "not below 1"),
    "fraction over 0": (make.split(fractions([make.exp_sum((1, 1))], make.exp_sum((1, 2), (-1, 2)))), "zero"),
    "second fraction": (
        edited("split", a=(("witness", "fractions", 1), fractions([make.exp_sum(("1/3", 0))]))),
        "head 1",
    ),
    # direction lemma
    "x_1 over 0": (edited("direction", a=(("witness", "x_1", "denominator"), make.exp_sum())), "denominator zero"),
    "output over 0": (
        edited("direction", a=(("instance", "output", "denominator"), make.exp_sum((0, 1)))),
        "output has denominator zero",
    ),
    "score": (edited("direction", a=(("instance", "rho"), scalar(2))), "rho fails"),
    "output": (edited("direction", a=(("instance", "output", "numerators", 1), make.exp_sum((3, 0)))), "entry 1"),
    # injectivity
    "norm bound too small": (edited("norm product", a=(("witness", "bounds", 0), scalar("13/36"))), "norm of W_1"),
    "second norm bound too small": (edited("norm product", a=(("witness", "bounds", 1), scalar("1/3"))), "of W_2"),
    "product of bounds is 1": (
        edited(
            "norm product",
            a=(("witness", "bounds"), [scalar("1/2"), scalar(2)]),
            b=(("witness", "factors", 1), matrix([[1]])),
        ),
        "not below 1",
    ),
    "factor": (edited("norm product", a=(("witness", "factors", 0), matrix([[1]]))), "norm of W_1"),
    "z does not solve": (edited("norm product", a=(("witness", "z"), vector([0, 4]))), "not y"),
    "not monotone": (edited("monotone", a=(("instance", "mlp", "W_2"), matrix([["1/3", -1], [0, 0]]))), "positive"),
    "monotone factor": (edited("monotone", a=(("witness", "factor"), matrix([[1, 0], [0, 2]]))), "positive"),
    "z does not solve, monotone": (edited("monotone", a=(("instance", "y"), vector([6, -4]))), "not y"),
}


@pytest.mark.parametrize("name", FALSE)
def test_false(name: str, judge: Judge) -> None:
    value, reason = FALSE[name]
    verdict, text = judge(seal(value))
    assert verdict == "false", text
    assert re.search(reason, text), text
    assert not oracle.holds(value)


@pytest.mark.parametrize("name", make.TRUE)
def test_wrong_hash(name: str, judge: Judge) -> None:
    data = seal(make.TRUE[name]).replace(b'"toolkit":{"tests":"1"}', b'"toolkit":{"tests":"2"}')
    assert judge(data) == ("false", "sha256 is not that of the content")


def test_layers_without_some_parts(judge: Judge) -> None:
    """No hidden unit with bounds, an empty head, one query separated from an unreachable one."""
    value = make.certificate(
        "mlp-injectivity",
        "norm-product",
        {"mlp": make.mlp(), "y": None},
        {"bounds": [scalar(-1), scalar(7)], "factors": [matrix([]), matrix([])], "z": None},
    )
    assert judge(seal(value))[0] == "true"
    value = edited(
        "cone",
        a=(
            (*LAYER, "heads"),
            [
                make.head(),
                {
                    **make.head(),
                    "W_q": matrix([]),
                    "W_k": matrix([]),
                    "W_v": matrix([]),
                    "W_o": matrix([[], []]),
                    "b_q": vector([]),
                },
            ],
        ),
    )
    assert judge(seal(value))[0] == "true"
    value = make.out_of_range()
    value["instance"]["queries"].append(query([[1]], 0, [-1]))
    none, some = tree(make.empty([-1])), tree(make.branch(0, make.PIECE, make.PIECE))
    value["witness"] = {"argument": "separation", "preimages": [none, some], "pairs": []}
    assert judge(seal(value))[0] == "true"
    value["instance"]["queries"].reverse()
    value["witness"] = {"argument": "separation", "preimages": [some, none], "pairs": [[], []]}
    assert judge(seal(value))[0] == "true"
    assert oracle.holds(value)


def test_a_dropped_leaf_is_rejected(judge: Judge) -> None:
    """Neither a tree with a missing branch nor one whose piece is called empty is accepted."""
    value = copy.deepcopy(make.TRUE["cone, trees"])
    value["witness"]["preimages"][0] = tree(make.PIECE)
    value["witness"]["pairs"] = value["witness"]["pairs"][1:]
    assert judge(seal(value))[0] == "false"
    for multipliers in ([-1], [0], [1]):
        value = copy.deepcopy(make.TRUE["cone, trees"])
        value["witness"]["preimages"][0] = tree(make.branch(0, make.empty(multipliers), make.PIECE))
        value["witness"]["pairs"] = value["witness"]["pairs"][1:]
        assert judge(seal(value))[0] == "false"


def test_a_leaf_without_multipliers_has_no_bound() -> None:
    from limits import Refuted
    from preimage import Leaf, Mlp, Preimage, Tree
    from rational import Matrix, Vector

    mlp = Mlp(Matrix((), 1, 1), Vector((), 1), Matrix(((),), 1, 0), Vector((0,), 1))
    preimage = Preimage(mlp, Vector((0,), 1), Tree((Leaf(None),), ()))
    with pytest.raises(Refuted, match="needs multipliers"):
        preimage.upper_bound(0, Vector((1,), 1), Vector((0,), 1), None, "here")


NOT_CERTIFICATES: dict[str, tuple[Json, str]] = {
    "claim": (edited("cone", a=(("claim",), "flat-earth")), 'claim: expected .* found "flat-earth"'),
    "relation": (edited("cone", a=(("relation",), "splits")), 'relation: expected "no-prompt-memorizes"'),
    "evidence": (edited("cone", a=(("evidence",), "enclosed")), "evidence"),
    "evidence of others": (edited("split", a=(("evidence",), "sampled")), "evidence"),
    "one query for two": (edited("cone", a=(("instance", "queries"), lambda q: q[:1])), "queries.*length 2"),
    "two queries for one": (edited("out of range", a=(("instance", "queries"), lambda q: q * 2)), "length 1"),
    "no queries": (edited("out of range", a=(("instance", "queries"), [])), "queries.*length 1"),
    "queries are no list": (edited("cone", a=(("instance", "queries"), {})), "queries: expected a list, found an obj"),
    "unknown argument": (edited("cone", a=(("witness", "argument"), "magic")), "witness.argument"),
    "unknown separation": (edited("cone", a=((*STEP, "argument"), "magic")), r"pairs\[0\]\[0\].argument"),
    "argument is a list": (edited("cone", a=((*STEP, "argument"), ["cone"])), "found a list of length 1"),
    "kind": (edited("cone", a=(("witness", "preimages", 0, "kind"), "tree")), r"preimages\[0\].kind"),
    "kind of a tree": (edited("out of range", a=(("witness", "preimage", "kind"), "point")), "preimage.kind"),
    "leaf": (make.out_of_range({"leaf": "empty"}), 'tree.leaf: expected "piece"'),
    "leaf with multipliers": (make.out_of_range({"leaf": "piece", "multipliers": vector([1])}), "tree.leaf"),
    "leaf with a unit": (make.out_of_range({"leaf": "piece", "unit": 0}), "tree"),
    "a branch is missing": (make.out_of_range({"unit": 0, "active": make.PIECE}), "expected an object with fields"),
    "a unit twice": (
        make.out_of_range(make.branch(0, make.PIECE, make.branch(0, make.PIECE, make.PIECE))),
        "tree.inactive.unit: expected a unit that is not fixed above, found 0",
    ),
    "a unit that is none": (make.out_of_range(make.branch(1, make.PIECE, make.PIECE)), "tree.unit: .*found 1"),
    "a negative unit": (make.out_of_range(make.branch(-1, make.PIECE, make.PIECE)), "tree.unit: .*found -1"),
    "a missing pair": (edited("cone, trees", a=(("witness", "pairs", 0), lambda row: row[:1])), r"pairs\[0\]"),
    "a missing row of pairs": (edited("cone, trees", a=(("witness", "pairs"), lambda rows: rows[:1])), "pairs"),
    "multipliers for a point": (edited("cone", a=((*STEP, "multipliers", 0), vector([]))), "null"),
    "no multipliers for a leaf": (edited("cone, trees", a=((*STEP, "multipliers", 0), None)), "multipliers"),
    "one multiplier": (edited("cone", a=((*STEP, "multipliers"), [None])), "multipliers: expected a list of length 2"),
    "no such head": (edited("cone", a=((*STEP, "head"), 1)), "head: expected an integer from 0 to 0, found 1"),
    "no such column": (edited("cone", a=((*FIRST, "column"), 2)), "column"),
    "length of w": (edited("cone", a=((*STEP, "w"), vector([1]))), "w.num: expected a list of integers of length 2"),
    "no head": (edited("cone", a=((*LAYER, "heads"), [])), "at least one head"),
    "no token": (edited("cone", a=((*FIRST, "X"), matrix([[], []]))), "at least one column"),
    "ragged": (edited("cone", a=((*FIRST, "X", "num", 1), [0, 1, 2])), r"X.num\[1\]: .*length 2, found .*length 3"),
    "rows": (edited("cone", a=((*FIRST, "X"), matrix([[1, 2]]))), "X.num: expected a list of length 2"),
    "causal": (edited("cone", a=((*LAYER, "causal"), 0)), "causal: expected true or false, found 0"),
    "E is too short": (edited("cone, mask and E", a=((*LAYER, "E"), matrix([[1] * 3] * 2))), "below the 3 of E"),
    "E with two lengths": (edited("cone, mask and E", a=((*FIRST, "X"), matrix([[2, 0], [0, 0]]))), "columns"),
    "no dimension": (edited("norm product", a=(("instance", "mlp", "b_2"), vector([]))), "b_2"),
    "split without dimension": (edited("split", a=(("instance", "token"), vector([]))), "token"),
    "direction without dimension": (edited("direction", a=(("instance", "token"), vector([]))), "token"),
    "a fraction too many": (edited("split", a=(("witness", "fractions"), lambda f: [*f, f[0]])), "fractions"),
    "two-dimensional fraction": (
        edited("split", a=(("witness", "fractions", 0, "numerators"), lambda f: f * 2)),
        "numerators",
    ),
    "uneven exponential sum": (
        edited("split", a=(("witness", "fractions", 0, "denominator", "coefficients"), vector([1]))),
        "coefficients",
    ),
    "y without z": (edited("monotone", a=(("witness", "z"), None)), "witness.z"),
    "z without y": (edited("monotone", a=(("instance", "y"), None)), "instance.y"),
    "shape of a factor": (edited("monotone", a=(("witness", "factor"), matrix([[1]]))), "factor.num"),
    "witness of another relation": (edited("monotone", a=(("relation",), "norm-product")), "witness"),
}


@pytest.mark.parametrize("name", NOT_CERTIFICATES)
def test_not_a_certificate(name: str, judge: Judge) -> None:
    value, reason = NOT_CERTIFICATES[name]
    verdict, text = judge(seal(value))
    assert verdict == "not a certificate", text
    assert re.search(reason, text), text
    assert len(text) < 500
