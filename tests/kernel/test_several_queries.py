"""Claim several-queries: certificates that hold, and each condition violated in turn."""

import copy
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import box_tree
import kernel_certificates as make
import krawczyk
import limits
import pytest
import several_queries_oracle as oracle
from kernel_certificates import changed
from kernel_oracle import values
from prompt_law_makers import sealed_verdict
from several_queries_cases import MAKERS, multiples, scattered, true, two
from several_queries_makers import memorizable

Json = Any

W = ("witness",)
TREE = ("witness", "combinations", 0)
LEAF = (*TREE, "tree", "below")
QUERY = ("instance", "queries")
HALF, ONE_AND_HALF = Fraction(1, 2), Fraction(3, 2)


@pytest.mark.parametrize("name", MAKERS)
def test_true(name: str, judge: Callable[[bytes], tuple[str, str]]) -> None:
    verdict, text = judge(make.seal(true(name)))
    assert verdict == "true", text
    assert text.startswith("several-queries: ")
    assert oracle.holds(true(name))


def test_an_equation_either_way_round() -> None:
    """delta and gamma change their signs together."""
    for name, path in (("point, fixed mass", (*W, "equations", 0)), ("tree, fixed mass", (*TREE, "equations", 0))):
        for place in ([0, 2, 0], [2, 0, 0]):
            assert sealed_verdict(edited(name, (path, place)))[0] == "true"


def edited(name: str, *edits: tuple[tuple[Any, ...], Json]) -> Json:
    value = true(name)
    for path, new in edits:
        value = changed(value, path, new)
    return value


def without_leaf(name: str, side: str) -> Json:
    """The other half of the root instead of both."""
    return edited(name, ((*TREE, "tree"), lambda node: node[side]))


def leaf(G: int = 2, length: bool = False, **others: Json) -> Json:
    """A leaf without any multiplier."""
    return {
        "entropy": make.vector([0] * G),
        "divergence": make.matrix(make.zeros(G, G)),
        "length": make.vector([0] * G) if length else None,
        "tangents": [None] * G,
        **others,
    }


def moved(by: Json) -> Callable[[Json], Json]:
    """Both ends of an interval."""
    return lambda pair: [make.scalar(values(end) + Fraction(by)) for end in pair]


def times(factor: Json) -> Callable[[Json], Json]:
    def scaled(x: Json) -> Json:
        value = values(x)
        if isinstance(value, Fraction):
            return make.scalar(value * Fraction(factor))
        return make.matrix([[y * Fraction(factor) for y in r] for r in value])

    return scaled


def entry(i: int, j: int, change: Callable[[Fraction], Fraction]) -> Callable[[Json], Json]:
    def new(matrix: Json) -> Json:
        rows = values(matrix)
        rows[i][j] = change(rows[i][j])
        return make.matrix(rows)

    return new


BRACKET = (*TREE, "brackets", 0)

FALSE: dict[str, tuple[Json, str]] = {
    # every claim
    "another target": (edited("point", ((*QUERY, 0, "target", "num", 0), 1)), "query 0: MLP(z) is not the target"),
    "another target, tree": (edited("tree", ((*QUERY, 0, "target", "num", 0), 99)), "preimages[0]: MLP(z)"),
    "another target, prompt": (edited("prompt", ((*QUERY, 1, "target", "num", 0), 1)), "query 1: MLP(z)"),
    "inverse": (edited("point", ((*W, "inverse"), times(2))), "V times the inverse"),
    "inverse, tree": (edited("tree", ((*W, "inverse"), entry(1, 0, lambda x: x + 1))), "V times the inverse"),
    # equations
    "no equation where one is": (edited("point, fixed mass", ((*W, "equations", 0), None)), "asks for another a"),
    "equation where none is": (edited("point, repeated", ((*W, "equations", 0), [0, 2, 0])), "delta is zero"),
    "equation of a lone query": (edited("point", ((*W, "equations", 0), [0, 0, 0])), "delta is zero"),
    "equation of two groups": (edited("point", ((*W, "equations", 0), [0, 1, 0])), "different logit vectors"),
    "equation of another group": (
        edited("point, fixed mass", ((*W, "equations", 1), [0, 2, 0])),
        "equation of group 1: queries with different",
    ),
    "equation of another coordinate": (edited("point, fixed mass", ((*W, "equations", 0), [0, 2, 1])), "delta is zero"),
    "another context, no equation": (
        edited("point, repeated", ((*QUERY, 2, "X", "num", 0, 0), 7)),
        "equation of group 0: query 1 asks for another C",
    ),
    "mass not positive": (
        edited("point, fixed mass", ((*QUERY, 2, "X", "num", 0, 0), -8)),
        "the mass is not positive",
    ),
    "equations disagree": (
        edited("point, fixed mass", ((*QUERY, 2, "X", "num", 1, 0), 3)),
        "the mass does not solve the equation of query 1, coordinate 1",
    ),
    "equations disagree, tree": (
        edited("tree, fixed mass", ((*QUERY, 2, "X", "num", 1, 0), 3)),
        "combination 0: equation of group 0: the mass does not solve",
    ),
    # brackets
    "bracket above": (edited("point, fixed mass", ((*W, "box", 0), moved(1))), "below the bracket"),
    "bracket below": (edited("point, fixed mass", ((*W, "box", 0), moved(-1))), "above the bracket"),
    "bracket above, tree": (edited("tree, fixed mass", (BRACKET, moved(1))), "below the bracket"),
    "bracket below, tree": (edited("tree, fixed mass", (BRACKET, moved("-1/1000000"))), "above the bracket"),
    "bracket the wrong way round": (
        edited("tree, fixed mass", (BRACKET, lambda pair: pair[::-1])),
        "the mass is below the bracket",
    ),
    # points
    "dual scaled": (edited("point", ((*W, "dual"), times(2))), "logit vector of group 0 is not dual"),
    "dual of the other": (edited("point", ((*W, "dual", "num"), lambda rows: rows[::-1])), "group 0 is not dual"),
    "dual not orthogonal": (
        edited("point, three", ((*W, "dual"), entry(0, 2, lambda x: x + 1))),
        "is not dual",
    ),
    "empty box": (
        edited("point", ((*W, "box", 0, 1), lambda x: make.scalar(values(x) - 1))),
        "interval of group 0 is empty",
    ),
    "box too wide": (
        edited("point", ((*W, "box", 1, 1), lambda x: make.scalar(values(x) + 40))),
        "is not positive for group",
    ),
    "mass too small": (edited("point", ((*W, "box", 1), moved(-20))), "is not positive for group"),
    "mass too large": (edited("point", ((*W, "box", 0), moved(50))), "D is not positive for groups 0, 1"),
    "the other mass too large": (edited("point", ((*W, "box", 1), moved(50))), "D is not positive for groups 1, 0"),
    "entropy": (edited("point, one group", ((*W, "box", 0), [make.scalar(-5)] * 2)), "H is not positive for group 0"),
    # trees
    "leaf removed": (without_leaf("tree", "below"), "combination 0, leaf"),
    "other leaf removed": (without_leaf("tree", "above"), "combination 0, leaf"),
    "leaf removed, length": (without_leaf("tree, length", "below"), "combination 0, leaf"),
    "leaf without multipliers": (edited("tree", (LEAF, leaf())), "not shown to be negative"),
    "leaf for leaf": (
        edited(
            "tree, length", ((*TREE, "tree"), lambda node: {**node, "below": node["above"], "above": node["below"]})
        ),
        "combination 0, leaf 0",
    ),
    "negative multiplier": (
        edited("cycle", ((*TREE, "tree", "entropy"), make.vector([-1, 0]))),
        "leaf 0: a multiplier is negative",
    ),
    "negative multiplier of a divergence": (
        edited("cycle", ((*TREE, "tree", "divergence"), times(-1))),
        "leaf 0: a multiplier is negative",
    ),
    "negative multiplier of a length": (
        edited("tree, fixed mass", ((*TREE, "tree", "length", "num", 1), -1)),
        "leaf 0: a multiplier is negative",
    ),
    "multiplier on the diagonal": (
        edited("cycle", ((*TREE, "tree", "divergence"), entry(0, 0, lambda x: x + 1))),
        "the diagonal is not zero",
    ),
    "cycle does not cancel": (
        edited("cycle", ((*TREE, "tree", "divergence"), entry(0, 1, lambda x: x + Fraction(1, 10**9)))),
        "no bound at an infinite end",
    ),
    "cycle, the other way": (
        edited("cycle", ((*TREE, "tree", "divergence"), entry(1, 0, lambda x: x + Fraction(1, 10**9)))),
        "no bound at an infinite end",
    ),
    "log of the length too small": (edited("tree, length", ((*W, "log_length"), moved(-1))), "log N is above"),
    "log of the length too large": (edited("tree, length", ((*W, "log_length"), moved(1))), "log N is below"),
    "more tokens are allowed": (
        edited("tree, length", (("instance", "length"), 1000), ((*W, "log_length"), [make.scalar(6), make.scalar(7)])),
        "combination 0, leaf",
    ),
    "combinations exchanged": (
        edited("two preimages", ((*W, "combinations"), lambda c: [c[3], *c[1:3], c[0]])),
        "combination",
    ),
    # sign and masses
    "sign, but positive": (
        edited("tree, fixed mass", (TREE, {"argument": "sign", "equation": [0, 2, 0]})),
        "combination 0: the mass is positive",
    ),
    "sign, nothing": (
        edited("tree, fixed mass", (TREE, {"argument": "sign", "equation": [0, 2, 1]})),
        "delta and gamma are zero",
    ),
    "sign, two groups": (
        edited("sign", (TREE, {"argument": "sign", "equation": [0, 1, 0]})),
        "combination 0: queries with different logit vectors",
    ),
    "masses, the same": (
        edited("masses", (TREE, {"argument": "masses", "equations": [[0, 2, 0], [2, 0, 0]]})),
        "the two masses are equal",
    ),
    "masses of two groups": (
        edited("masses", (TREE, {"argument": "masses", "equations": [[0, 2, 0], [1, 1, 0]]})),
        "different logit vectors",
    ),
    # prompts
    "radius zero": (edited("prompt", ((*W, "radius"), make.scalar(0))), "the radius is not positive"),
    "radius negative": (edited("prompt", ((*W, "radius"), times(-1))), "the radius is not positive"),
    "radius too small": (edited("prompt", ((*W, "radius"), make.scalar(Fraction(1, 2**100)))), "leaves the box"),
    "radius too large": (edited("prompt", ((*W, "radius"), make.scalar(2))), "leaves the box"),
    "preconditioner zero": (edited("prompt", ((*W, "preconditioner"), times(0))), "leaves the box"),
    "preconditioner reversed": (edited("prompt", ((*W, "preconditioner"), times(-1))), "leaves the box"),
    "preconditioner of other equations": (
        edited("prompt", ((*W, "preconditioner", "num"), lambda rows: rows[::-1])),
        "leaves the box",
    ),
    "another reference": (edited("prompt", ((*W, "references"), make.vector([1, 0]))), "leaves the box"),
    "another token": (edited("prompt", ((*W, "tokens"), entry(0, 0, lambda x: x + Fraction(1, 10**6)))), "leaves"),
    "another point": (
        edited(
            "prompt",
            *(
                (path, entry_of_vector)
                for path, entry_of_vector in (
                    ((*W, "points", 0), lambda v: make.vector([values(v)[0] + Fraction(1, 1000), *values(v)[1:]])),
                    ((*QUERY, 0, "target"), lambda v: make.vector([values(v)[0] + Fraction(1, 1000), *values(v)[1:]])),
                )
            ),
        ),
        "leaves the box",
    ),
    "too coarse": (edited("prompt", ((*W, "precision"), 32)), "leaves the box"),
    "unknowns exchanged": (
        edited("prompt", ((*W, "unknowns"), lambda places: [places[1], places[0], *places[2:]])),
        "leaves the box",
    ),
    "mass forgotten": (
        edited(
            "prompt, mass",
            ((*W, "equations", 0), None),
            ((*W, "unknowns"), [[0, 0]]),
            ((*W, "preconditioner"), make.matrix([[1]])),
        ),
        "asks for another a",
    ),
    "mass of another context": (
        edited("prompt, mass", ((*QUERY, 1, "X"), make.matrix([["31/10", "1/2"]]))),
        "leaves the box",
    ),
    "singular": (
        edited("prompt, mass", (("instance", "layer", "heads", 0, "W_v"), make.matrix([[0]]))),
        "",
    ),
    "hash": ({**true("cycle"), "toolkit": {}}, ""),
}
del FALSE["hash"]  # any text is sealed anew; see test_kernel_reading for hashes


@pytest.mark.parametrize("name", FALSE)
def test_false(name: str) -> None:
    value, expected = FALSE[name]
    verdict, text = sealed_verdict(value)
    assert (verdict, expected in text) == ("false", True), (verdict, text)


def test_each_inequality_of_a_point_counts() -> None:
    """At many points, for data that can be memorized and for others: the kernel agrees and names what fails."""
    seen = set()
    for problem in (two(), scattered(2, 2, 2), scattered(15, 2, 2)):
        for i in range(-14, 15, 3):
            for j in range(-14, 15, 3):
                value = memorizable(problem, [[Fraction(x, 2)] * 2 for x in (i, j)])
                verdict, text = sealed_verdict(value)
                assert (verdict == "true") == oracle.holds(value), (i, j, text)
                seen.add(text.split("box: ")[-1] if verdict == "false" else "true")
    inequalities = {f"H is not positive for group {g}" for g in range(2)}
    assert seen == inequalities | {f"D is not positive for groups {g}, {1 - g}" for g in range(2)} | {"true"}


@pytest.mark.parametrize("dual", [[[1, 0]] * 3, [[0, 0], ["4/5", "-2/5"], ["2/5", "-1/5"]], [[0, 0]] * 3])
def test_dependent_logit_vectors_are_never_memorizable(dual: Json) -> None:
    """q = 0, r, 2r: a point at which all inequalities are strict proves nothing."""
    problem = multiples()
    honest = true("point")
    box = [moved(0)([make.scalar(x)] * 2) for x in ("8/5", "8/5", "8/5")]
    witness = {
        "points": [make.vector(points[0]) for points in problem.points],
        "inverse": make.matrix([[1, 0], [0, 1]]),
        "dual": make.matrix(dual),
        "equations": [None] * 3,
        "box": box,
    }
    assert honest["witness"].keys() == witness.keys()
    V = problem.V
    problem.V = [[Fraction(1), Fraction(0)], [Fraction(0), Fraction(1)]]
    verdict, text = sealed_verdict(problem.certificate("memorizable", witness))
    problem.V = V
    assert verdict == "false"
    assert "is not dual" in text


# --- the format ----------------------------------------------------------------------------------------------

NOT_CERTIFICATES: dict[str, tuple[Json, str]] = {
    "relation": ({**true("point"), "relation": "loss-bounds"}, "relation"),
    "evidence of a prompt": ({**true("prompt"), "evidence": "exact"}, "evidence"),
    "evidence of a tree": ({**true("tree"), "evidence": "enclosed"}, "evidence"),
    "E": (
        edited("tree", (("instance", "layer", "E"), make.matrix(make.zeros(2, 4))), (("instance", "length"), 2)),
        "a layer without E",
    ),
    "length of a point": (edited("point", (("instance", "length"), 5)), "the length null"),
    "no length of a prompt": (edited("prompt", (("instance", "length"), None)), "as their sum"),
    "another length of a prompt": (edited("prompt", (("instance", "length"), 6)), "as their sum"),
    "a token taken no time": (edited("prompt", ((*W, "counts", 0), 0)), "positive integers"),
    "no tokens": (
        edited("prompt", (("instance", "length"), 1), ((*W, "tokens"), {"den": 1, "num": [[], []]})),
        "at least one column",
    ),
    "log_length missing": (edited("tree, length", ((*W, "log_length"), None)), "log_length: expected no null"),
    "log_length without a length": (
        edited("tree", ((*W, "log_length"), [make.scalar(0)] * 2)),
        "log_length: expected null",
    ),
    "length multipliers missing": (edited("tree, length", (LEAF, leaf())), "length: expected no null"),
    "length multipliers without a length": (edited("tree", (LEAF, leaf(length=True))), "length: expected null"),
    "bracket missing": (edited("tree, fixed mass", (BRACKET, None)), "brackets[0]: expected no null"),
    "bracket without equation": (
        edited("tree", (BRACKET, [make.scalar(0), make.scalar(1)])),
        "brackets[0]: expected null",
    ),
    "bracket of three": (edited("tree, fixed mass", (BRACKET, lambda pair: [*pair, pair[0]])), "a list of length 2"),
    "group out of range": (
        edited("tree", ((*TREE, "tree", "group"), 2)),
        "tree.group: expected an integer from 0 to 1",
    ),
    "query out of range": (edited("point", ((*W, "equations", 0), [0, 2, 0])), "equations[0][1]"),
    "coordinate out of range": (edited("point", ((*W, "equations", 0), [0, 1, 2])), "equations[0][2]"),
    "too few equations": (edited("point", ((*W, "equations"), [None])), "equations: expected a list of length 2"),
    "too few groups in the box": (edited("point", ((*W, "box"), lambda box: box[:1])), "box: expected a list"),
    "dual of another height": (edited("point", ((*W, "dual"), make.matrix([[1, 0]]))), "dual.num"),
    "argument": (edited("tree", ((*TREE, "argument"), "entropy")), '"sign" or "masses" or "tree"'),
    "no argument": (edited("tree", (TREE, leaf())), 'an object with the field "argument"'),
    "no object": (edited("tree", (TREE, "tree")), 'an object with the field "argument"'),
    "leaf with a cut": (edited("tree", (LEAF, {**leaf(), "group": 0})), "an object with fields"),
    "tangents of another length": (edited("tree", (LEAF, leaf(tangents=[None]))), "tangents: expected a list"),
    "combination missing": (
        edited("two preimages", ((*W, "combinations"), lambda c: c[:3])),
        "combinations: expected a list of length 4",
    ),
    "combination too many": (edited("out of range", ((*W, "combinations"), [leaf()])), "a list of length 0"),
    "unknown twice": (
        edited("prompt", ((*W, "unknowns"), lambda places: [places[0], *places[:3]])),
        "different entries, found one of them twice",
    ),
    "unknowns missing": (edited("prompt", ((*W, "unknowns"), lambda places: places[1:])), "a list of length 4"),
    "unknown row": (edited("prompt", ((*W, "unknowns", 0, 0), 2)), "unknowns[0][0]"),
    "unknown column": (edited("prompt", ((*W, "unknowns", 0, 1), 5)), "unknowns[0][1]"),
    "preconditioner not square": (
        edited("prompt", ((*W, "preconditioner"), make.matrix(make.zeros(4, 3)))),
        "preconditioner.num",
    ),
    "references": (edited("prompt", ((*W, "references"), make.vector([0]))), "references.num"),
    "precision": (edited("prompt", ((*W, "precision"), 31)), "from 32 to 4096"),
    "precision, high": (edited("prompt", ((*W, "precision"), 4097)), "from 32 to 4096"),
}


@pytest.mark.parametrize("name", NOT_CERTIFICATES)
def test_not_a_certificate(name: str) -> None:
    value, expected = NOT_CERTIFICATES[name]
    verdict, text = sealed_verdict(value)
    assert verdict == "not a certificate", text
    assert expected in text


# --- limits --------------------------------------------------------------------------------------------------


def test_nodes_of_all_trees_together(monkeypatch: pytest.MonkeyPatch) -> None:
    value = true("two preimages")
    count = str(value).count("'group'") + str(value).count("'tangents'")
    monkeypatch.setattr(box_tree, "MAX_NODES", count)
    assert sealed_verdict(value)[0] == "true"
    monkeypatch.setattr(box_tree, "MAX_NODES", count - 1)
    assert sealed_verdict(value) == ("over limits", f"more than {count - 1} nodes in trees")


def test_unknowns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(krawczyk, "MAX_UNKNOWNS", 3)
    assert sealed_verdict(true("prompt")) == ("over limits", "more than 3 unknowns")


def test_deep_tree() -> None:
    """A path of cuts far out; the nesting allows about 500 of them."""
    value = true("cycle")
    node = value["witness"]["combinations"][0]["tree"]
    for k in range(450):
        node = (
            {"group": k % 2, "at": make.scalar(k % 7 - 3), "below": node, "above": node}
            if k == 0
            else {
                "group": k % 2,
                "at": make.scalar(k),
                "below": node,
                "above": value["witness"]["combinations"][0]["tree"],
            }
        )
    deep = changed(value, (*TREE, "tree"), node)
    assert sealed_verdict(deep)[0] == "true"
    for k in range(100):
        node = {"group": 0, "at": make.scalar(k), "below": node, "above": leaf()}
    assert sealed_verdict(changed(value, (*TREE, "tree"), node))[0] == "not a certificate"


def test_cuts_outside_of_the_box_are_harmless() -> None:
    """One half is empty; its leaf is checked as if it were not."""
    value = true("cycle")
    cycle = value["witness"]["combinations"][0]["tree"]
    for side, other in (("below", "above"), ("above", "below")):
        inner = {"group": 0, "at": make.scalar(0), "below": cycle, "above": cycle}
        inner[side] = {"group": 0, "at": make.scalar(5 if side == "below" else -5), "below": cycle, "above": cycle}
        assert sealed_verdict(changed(value, (*TREE, "tree"), inner))[0] == "true"
        broken = copy.deepcopy(inner)
        broken[side][side] = leaf()
        assert sealed_verdict(changed(value, (*TREE, "tree"), broken))[0] == "false", other


def test_hostile_numbers_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_SECONDS", 1)
    huge = {"den": 1, "num": hex(1 << 60000)}
    fine = {"den": hex(1 << 60000), "num": 1}
    hostile = [
        edited("point", ((*W, "box", 0), [huge, huge])),
        edited("point", ((*W, "box", 0), [fine, fine])),
        edited("tree", ((*TREE, "tree", "at"), huge)),
        edited("tree", ((*TREE, "tree", "at"), {**huge, "num": "-" + huge["num"]})),
        edited("tree, length", ((*W, "log_length", 1), huge)),
        edited("prompt", ((*W, "radius"), huge)),
        edited("prompt", ((*W, "radius"), fine)),
        edited("prompt", ((*W, "tokens", "num", 0, 0), huge["num"])),
        edited("prompt", ((*W, "references", "num", 0), huge["num"])),
        edited("prompt", ((*W, "references", "num", 0), "-" + huge["num"])),
        edited("prompt", ((*W, "preconditioner", "num", 0, 0), huge["num"])),
    ]
    for k, value in enumerate(hostile):
        start = time.monotonic()
        assert sealed_verdict(value)[0] in ("false", "over limits"), k
        assert time.monotonic() - start < 4, k
    monkeypatch.undo()
    limits.DEADLINE.start()


def test_the_trees_are_not_trivial() -> None:
    """There are cuts, tangents, and leaves with several multipliers."""
    text = str([true(name)["witness"] for name in MAKERS if name.startswith("tree")])
    assert text.count("'group'") > 5
    assert text.count("'tangents'") > text.count("'tangents': [None, None]") + 3
