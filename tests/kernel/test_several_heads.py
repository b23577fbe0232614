"""Claim several-heads: certificates that hold, and each condition violated in turn."""

import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import box_tree
import kernel_certificates as make
import krawczyk
import limits
import pytest
import several_heads_oracle as oracle
from curve import Curve
from expsum import ExpSum, exponential
from kernel_certificates import changed
from kernel_oracle import values
from prompt_law_makers import row, sealed_verdict
from rational import Scalar
from several_heads_cases import (
    FLOW,
    MAKERS,
    bounded,
    bounded_case,
    crossed,
    crossed_case,
    crossed_leaf,
    mass_case,
    prompt_case,
    repeated_token,
    stuck,
    true,
)
from several_heads_makers import Head, Problem, asking, cut, leaf, refuted, shared

Json = Any

W = ("witness",)
LEAF = (*W, "combinations", 0)
QUERY = ("instance", "queries")


@pytest.mark.parametrize("name", MAKERS)
def test_true(name: str, judge: Callable[[bytes], tuple[str, str]]) -> None:
    verdict, text = judge(make.seal(true(name)))
    assert verdict == "true", text
    assert text.startswith("several-heads: ")
    assert oracle.holds(true(name))


def edited(name: str, *edits: tuple[tuple[Any, ...], Json]) -> Json:
    value = true(name)
    for path, new in edits:
        value = changed(value, path, new)
    return value


def by_one(*place: int) -> Callable[[Json], Json]:
    """One entry of a vector or matrix, one more."""

    def new(value: Json) -> Json:
        entries = values(value)
        inner = entries
        for k in place[:-1]:
            inner = inner[k]
        inner[place[-1]] += 1
        return make.matrix(entries) if isinstance(entries[0], list) else make.vector(entries)

    return new


def times(factor: Json) -> Callable[[Json], Json]:
    def new(value: Json) -> Json:
        x = values(value)
        if isinstance(x, Fraction):
            return make.scalar(x * Fraction(factor))
        return make.matrix([[y * Fraction(factor) for y in r] for r in x])

    return new


def swapped(i: int, j: int) -> Callable[[Json], Json]:
    def new(value: Json) -> Json:
        num = list(value["num"])
        num[i], num[j] = num[j], num[i]
        return {**value, "num": num}

    return new


def alike() -> Json:
    """Two heads that are one and the same: the pairs of a query share a group, and all else is fine."""
    head = Head([[0, 0]], [[0, 1]], [[1, 0]], [[1], [0]], [1])
    inputs = [row([3, 0])] * 2
    problem = asking(Problem([head, head], [[row([5, 1])]], []), inputs)
    return shared(problem, inputs, [None], [[[0, 1]]] * 2)


def twice() -> Json:
    """The same query two times: nothing is refuted, with b = 0 and Gamma = 0."""
    problem = repeated_token()
    problem = replace(problem, contexts=[problem.contexts[0]] * 2, points=[problem.points[0]] * 2)
    y = [2, -1, 0, 0]
    return refuted(problem, [leaf(problem, [y, [0] * 4, [-t for t in y], [0] * 4])])


def upper_end() -> Json:
    """Gamma < 0 counts at an upper end: here the sum is exp(-1) short of it, and above 0."""
    problem = crossed(off="-1/8")
    part = crossed_leaf(problem)
    return refuted(problem, [cut(0, 1, part, part)])


FALSE: dict[str, tuple[Json, str]] = {
    # points and inputs
    "another target": (edited("singular", ((*QUERY, 1, "target"), by_one(0))), "query 1: MLP(z) is not the target"),
    "another target, active unit": (edited("bent", ((*QUERY, 0, "target"), by_one(0))), "query 0: MLP(z) is not"),
    "point of the other branch": (
        edited("bent", ((*W, "points", 0), lambda z: make.vector([20 - values(z)[0], *values(z)[1:]]))),
        "query 0: the outputs of its heads do not add up",
    ),
    "another target, shared": (edited("mass", ((*QUERY, 2, "target"), by_one(1))), "query 2: MLP(z) is not"),
    "another target, prompt": (edited("prompt", ((*QUERY, 0, "target"), by_one(1))), "query 0: MLP(z) is not"),
    "another target, tree": (edited("crossed", ((*QUERY, 0, "target"), by_one(0))), "preimages[0]: MLP(z)"),
    "another input": (edited("singular", ((*W, "inputs", 2), by_one(0))), "query 2: the outputs of its heads"),
    "another input, two heads": (edited("bent", ((*W, "inputs", 3), by_one(1))), "query 1: the outputs of its heads"),
    "another input, shared": (edited("two heads shared", ((*W, "inputs", 1), by_one(3))), "query 0: the outputs"),
    "inputs of other heads": (edited("bent", ((*W, "inputs"), lambda u: [u[1], u[0], *u[2:]])), "query 0: the outputs"),
    # heights and directions
    "direction that is seen": (edited("singular", ((*W, "directions"), by_one(1, 0))), "pair 1: V k is not zero"),
    "direction that is seen, two heads": (edited("bent", ((*W, "directions"), by_one(3, 1))), "pair 3: V k"),
    "direction of another pair": (edited("planar", ((*W, "directions"), swapped(0, 3))), "pair 0: its direction"),
    "no directions": (edited("planar", ((*W, "directions"), times(0))), "pair 0: its direction does not keep off 1"),
    "directions reversed": (edited("singular", ((*W, "directions"), times(-1))), "does not keep off"),
    "heights swapped": (edited("singular", ((*W, "heights"), swapped(0, 2))), "does not keep off"),
    "heights swapped, two heads": (edited("bent", ((*W, "heights"), swapped(1, 2))), "does not keep off"),
    "height on the boundary": (edited("planar", ((*W, "heights"), lambda _: make.vector([-2, 0, 0, 0]))), "pair 1"),
    "tokens alike": (
        edited(
            "planar", ((*QUERY, 1, "X"), make.matrix([[0], [1], [1]])), ((*QUERY, 1, "target"), make.vector([1, 2, 2]))
        ),
        "",
    ),
    # equations and duals
    "groups that mix heads": (alike(), "group 0 has pairs of several heads"),
    "dual scaled": (edited("mass", ((*W, "duals", 0), times(2))), "not dual to the rows of duals[0]"),
    "dual that is seen": (edited("mass", ((*W, "duals", 0), by_one(0, 0))), "duals[0]: V times row 0 is not zero"),
    "dual of a head that is seen": (
        edited("two heads shared", ((*W, "duals", 1), by_one(1, 3))),
        "duals[1]: V times row 1 is not zero",
    ),
    "dual rows swapped": (edited("two heads shared", ((*W, "duals", 1), swapped(0, 1))), "rows of duals[1]"),
    "dual not orthogonal": (edited("two heads shared", ((*W, "duals", 0), by_one(0, 5))), "group 1 is not dual"),
    "no equation where one is": (edited("mass", ((*W, "equations", 0), None)), "group 0: pair 1 asks for another a"),
    "no equation, another context": (
        edited("two heads shared", ((*QUERY, 0, "X"), by_one(3, 0))),
        "equation of group 1: pair 1 asks for another C",
    ),
    "equation where none is": (edited("two heads shared", ((*W, "equations", 1), [1, 3, 2])), "delta is zero"),
    "equation of another group": (
        edited("two heads shared", ((*W, "equations", 0), [1, 3, 2])),
        "equation of group 0: pairs with different logit vectors",
    ),
    "equation of a lone pair": (edited("mass", ((*W, "equations", 0), [1, 1, 0])), "delta is zero"),
    "mass not positive": (mass_case([[2 - x for x in o] for o in ([2, 3], [0, 5], [0, 0])]), "mass is not positive"),
    "masses disagree": (
        edited("mass", ((*QUERY, 1, "X"), by_one(1, 0))),
        "equation of group 0: the mass does not solve the equation of pair 1, coordinate 1",
    ),
    "scores disagree": (edited("mass", ((*QUERY, 1, "X"), by_one(2, 0))), "the equation of pair 1, coordinate 0"),
    # leaves
    "multiplier negative": (edited("crossed", ((*LEAF, "divergence"), times(-1))), "leaf 0: a multiplier is negative"),
    "multiplier of an entropy negative": (
        edited("crossed", ((*LEAF, "entropy"), make.vector([0, 0, 0, -1]))),
        "leaf 0: a multiplier is negative",
    ),
    "multiplier on the diagonal": (edited("crossed", ((*LEAF, "divergence"), by_one(1, 1))), "the diagonal is not"),
    "multiplier by one": (edited("crossed", ((*LEAF, "divergence"), by_one(0, 2))), "do not cancel"),
    "values by one": (edited("crossed", ((*LEAF, "values"), by_one(0, 0))), "group 0: the means do not cancel"),
    "values that another head gives": (edited("crossed", ((*LEAF, "values"), by_one(0, 1))), "see another head"),
    "values by one, last": (edited("crossed", ((*LEAF, "values"), by_one(3, 1))), "group 3: the means do not"),
    "values of other pairs": (edited("crossed", ((*LEAF, "values"), swapped(0, 2))), "the means do not cancel"),
    "values by one, mixed": (edited("mixed group", ((*LEAF, "values"), by_one(1, 1))), "the means do not cancel"),
    "values reversed": (edited("mixed group", ((*LEAF, "values"), times(-1))), "no bound at minus infinity"),
    "all reversed": (edited("repeated token", ((*LEAF, "values"), times(-1))), "no bound at minus infinity"),
    "nothing": (edited("mixed group", ((*LEAF, "values"), times(0))), "not shown to be negative"),
    "bound of 0 that is attained": (twice(), "not shown to be negative"),
    "bound of 0 by tangents": (bounded_case((Fraction(19, 10), 2)), "not shown to be negative"),
    "tangent of a line": (edited("crossed", ((*LEAF, "tangents", 0), make.scalar(0))), "a tangent without any end"),
    "targets that are not refuted": (crossed_case("-1/8"), "not shown to be negative"),
    "targets that are not refuted, cut": (upper_end(), "leaf 1: the combination is not shown"),
    "mask removed": (edited("masked", (("instance", "layer", "causal"), False)), "no bound at minus infinity"),
    "combinations forgotten": (
        edited("two preimages", ((*W, "combinations", 2), leaf(crossed(), make.zeros(4, 2)))),
        "combination 2, leaf 0: the combination is not shown",
    ),
    "piece that is not that point": (
        edited("two preimages", ((*W, "preimages", 0, "points"), lambda points: points[::-1])),
        "preimages[0]: piece 0",
    ),
    # out of reach
    "out of reach of one head only": (
        edited("out of reach", (("instance", "layer", "heads", 1, "W_o"), make.matrix([[1], [0]]))),
        "combination 0: w^T V is not zero at head 1",
    ),
    "another w": (edited("out of reach", ((*W, "combinations", 0, "w"), by_one(0))), "combination 0: w^T V is not"),
    "in reach": (edited("out of reach", ((*W, "combinations", 0, "query"), 0)), "combination 0: w.(z - x) is zero"),
    "no w": (edited("reach or tree", ((*W, "combinations", 0, "w"), make.vector([0] * 3))), "w.(z - x) is zero"),
    "another preimage in reach": (
        edited("reach or tree", ((*W, "combinations"), lambda c: [c[0], c[2], c[2], c[3]])),
        "combination 1: w.(z - x) is zero",
    ),
    "a preimage in reach": (
        edited("reach or tree", ((*W, "combinations"), lambda c: [*c[:3], c[2]])),
        "combination 3: w.(z - x) is zero",
    ),
    # lengths
    "log N above": (edited("bounded", ((*W, "log_length", 1), make.scalar("19/10"))), "log_length: log N is above"),
    "log N below": (edited("bounded", ((*W, "log_length", 0), make.scalar("39/20"))), "log_length: log N is below"),
    "more tokens": (
        edited("bounded", (("instance", "length"), 8), ((*W, "log_length"), [make.scalar(2), make.scalar("21/10")])),
        "not shown to be negative",
    ),
    "length multiplier negative": (
        edited("bounded", ((*LEAF, "above", "length"), make.vector([-1]))),
        "leaf 0: a multiplier is negative",
    ),
    "no length multiplier": (edited("bounded", ((*LEAF, "below", "length"), make.vector([0]))), "do not cancel"),
    "the other half": (
        edited("bounded", ((*W, "combinations"), lambda nodes: [nodes[0]["above"]])),
        "a tangent without any end",
    ),
    # stuck
    "eta with another sign": (stuck(values=[[2, 0], [0, -2], [2, 0], [0, 2]]), "balance the values at pair 0"),
    "all eta with another sign": (stuck(values=[[2, 0], [0, 2], [-2, 0], [0, -2]]), "balance the values at pair 0"),
    "eta of another head": (stuck(values=[[-2, 0], [-2, 0], [2, 0], [0, 2]]), "balance the values at pair 1"),
    "flow by one": (edited("stuck", ((*W, "flow"), by_one(0, 1))), "the flow is not balanced at pair 0"),
    "flow negative": (edited("stuck", ((*W, "flow"), times(-1))), "the flow is negative somewhere"),
    "flow on the diagonal": (edited("stuck", ((*W, "flow"), by_one(2, 2))), "the diagonal of the flow is not zero"),
    "other flow, balanced": (stuck([[0, 1, 0, 0], [1, 0, 0, 0], [0] * 4, [0] * 4]), "balance the values at pair 0"),
    "no flow": (stuck(make.zeros(4, 4), make.zeros(4, 2)), "V^T eta is zero for all pairs"),
    "no flow, eta that no head sees": (stuck(make.zeros(4, 4), [[0, 1], [3, 0], [0, 1], [2, 0]]), "is zero for all"),
    "flow between equal vectors": (
        stuck(FLOW, make.zeros(4, 2), tokens=[[0, 0], [5, 6]]),
        "V^T eta is zero for all pairs",
    ),
    "other tokens": (stuck(tokens=[[2, -1], [0, 0]]), "balance the values at pair 0"),
    # prompts
    "radius too large": (edited("prompt", ((*W, "radius"), make.scalar(2))), "leaves the box"),
    "radius negative": (edited("prompt", ((*W, "radius"), times(-1))), "the radius is not positive"),
    "radius zero": (edited("prompt", ((*W, "radius"), times(0))), "the radius is not positive"),
    "centre moved": (
        edited(
            "prompt",
            ((*W, "tokens"), lambda P: make.matrix([[x + Fraction(1, 10**6) for x in r] for r in values(P)])),
        ),
        "leaves the box",
    ),
    "another count": (
        edited("prompt", ((*W, "counts", 2), 2), ((*W, "counts", 1), 2)),
        "leaves the box",
    ),
    "preconditioner zero": (edited("prompt", ((*W, "preconditioner"), times(0))), "leaves the box"),
    "preconditioner reversed": (edited("prompt", ((*W, "preconditioner"), times(-1))), "leaves the box"),
    "rows exchanged": (edited("prompt", ((*W, "preconditioner"), swapped(0, 3))), "leaves the box"),
    "another context": (edited("prompt", ((*QUERY, 0, "X"), by_one(0, 0))), "leaves the box"),
    "another bias": (edited("prompt", (("instance", "layer", "heads", 1, "b_q"), by_one(0))), "leaves the box"),
    "another head": (
        edited("prompt", (("instance", "layer", "heads", 0, "W_o"), times("1001/1000"))),
        "leaves the box",
    ),
    "too coarse": (
        edited("prompt", ((*W, "precision"), 32), ((*W, "references"), make.vector([99, 0, 0, 0]))),
        "the precision is too low for the sizes of the masses",
    ),
}


@pytest.mark.parametrize("name", FALSE)
def test_false(name: str) -> None:
    value, expected = FALSE[name]
    verdict, text = sealed_verdict(value)
    assert (verdict, expected in text) == ("false", True), (verdict, text)


def test_references_do_not_matter() -> None:
    """They change no zero, and the precision is enough."""
    for references in ([0, 0, 0, 0], [3, -2, "7/3", 1], ["-1/2"] * 4):
        assert sealed_verdict(prompt_case(references=make.vector(references)))[0] == "true"


def test_where_a_bound_is_not_attained() -> None:
    """A s + b + gamma e^{-s}: only for gamma < 0 without an upper end and without a tangent."""
    falls, rises = (exponential(Scalar(c, 1), Scalar(0, 1)) for c in (-1, 1))
    zero = Scalar(0, 1)

    def below(gamma: ExpSum, ends: Any, tangent: Any) -> bool:
        return Curve(zero, zero, gamma).is_below_upper(ends, tangent)

    assert below(falls, (None, None), None)
    assert below(falls, (zero, None), None)
    assert not below(falls, (None, zero), None)
    assert not below(falls, (zero, None), zero)
    assert not below(rises, (zero, None), None)
    assert not below(exponential(zero, zero), (None, None), None)


# --- the format ----------------------------------------------------------------------------------------------

E2 = make.matrix(make.zeros(2, 4))

NOT_CERTIFICATES: dict[str, tuple[Json, str]] = {
    "relation": ({**true("singular"), "relation": "loss-bounds"}, "relation"),
    "evidence of a prompt": ({**true("prompt"), "evidence": "exact"}, "evidence"),
    "evidence of a tree": ({**true("crossed"), "evidence": "enclosed"}, "evidence"),
    "evidence of a flow": ({**true("stuck"), "evidence": "enclosed"}, "evidence"),
    "E": (edited("crossed", (("instance", "layer", "E"), E2), (("instance", "length"), 3)), "a layer without E"),
    "E of a flow": (edited("stuck", (("instance", "layer", "E"), E2)), "instance.layer: expected a layer without E"),
    "length, memorizable": (edited("singular", (("instance", "length"), 5)), "the length null"),
    "length, shared": (edited("mass", (("instance", "length"), 5)), "the length null"),
    "no queries": (edited("crossed", (("instance", "queries"), [])), "at least one query"),
    "no heads": (edited("stuck", (("instance", "layer", "heads"), [])), "at least one head"),
    "no tokens": (edited("stuck", (("instance", "tokens"), make.matrix([[], []]))), "at least one column"),
    "queries of a flow": (edited("stuck", (("instance",), lambda i: {**i, "length": None})), "an object with fields"),
    "points missing": (edited("singular", ((*W, "points"), lambda z: z[1:])), "points: expected a list of length 3"),
    "inputs missing": (edited("bent", ((*W, "inputs"), lambda u: u[1:])), "inputs: expected a list of length 4"),
    "input too long": (edited("bent", ((*W, "inputs", 1), make.vector([0] * 4))), "inputs[1].num"),
    "heights missing": (edited("bent", ((*W, "heights"), make.vector([0, 0]))), "heights.num"),
    "directions missing": (edited("bent", ((*W, "directions"), make.matrix(make.zeros(3, 3)))), "directions.num"),
    "dual missing": (edited("two heads shared", ((*W, "duals"), lambda d: d[:1])), "duals: expected a list of length"),
    "dual row missing": (
        edited("two heads shared", ((*W, "duals", 0), make.matrix(make.zeros(1, 6)))),
        "duals[0].num",
    ),
    "equation missing": (edited("two heads shared", ((*W, "equations"), [None])), "equations: expected a list"),
    "pair out of range": (edited("mass", ((*W, "equations", 0), [0, 3, 0])), "equations[0][1]"),
    "coordinate out of range": (edited("mass", ((*W, "equations", 0), [0, 2, 3])), "equations[0][2]"),
    "query out of range": (edited("out of reach", ((*W, "combinations", 0, "query"), 2)), "query: expected an integer"),
    "argument of both kinds": (edited("crossed", (LEAF, lambda node: {**node, "query": 0})), "an object with fields"),
    "values missing": (edited("crossed", ((*LEAF, "values"), make.matrix(make.zeros(3, 2)))), "values.num"),
    "values of a leaf": (
        edited("crossed", (LEAF, lambda node: {name: x for name, x in node.items() if name != "values"})),
        "an object with fields",
    ),
    "group out of range": (edited("crossed, cut", ((*LEAF, "group"), 4)), "group: expected an integer from 0 to 3"),
    "tree missing": (edited("crossed", ((*W, "combinations"), [])), "combinations: expected a list of length 1"),
    "tree too many": (edited("out of range", ((*W, "combinations"), [leaf(crossed(), [])])), "a list of length 0"),
    "log_length missing": (edited("bounded", ((*W, "log_length"), None)), "log_length: expected no null"),
    "log_length without length": (edited("crossed", ((*W, "log_length"), [])), "log_length: expected null"),
    "length multipliers missing": (edited("bounded", ((*LEAF, "above", "length"), None)), "length: expected no null"),
    "length multipliers without length": (
        edited("crossed", ((*LEAF, "length"), make.vector([0] * 4))),
        "length: expected null",
    ),
    "flow of another size": (edited("stuck", ((*W, "flow"), make.matrix(make.zeros(4, 3)))), "flow.num"),
    "eta of another size": (edited("stuck", (("instance", "values"), make.matrix(make.zeros(2, 2)))), "values.num"),
    "references missing": (edited("prompt", ((*W, "references"), make.vector([0, 0]))), "references.num"),
    "unknowns missing": (
        edited("prompt", ((*W, "unknowns"), lambda u: u[1:])),
        "unknowns: expected a list of length 4",
    ),
    "no length of a prompt": (edited("prompt", (("instance", "length"), None)), "the length of the instance"),
    "another length of a prompt": (edited("prompt", (("instance", "length"), 6)), "the length of the instance"),
    "count of zero": (edited("prompt", ((*W, "counts", 0), 0)), "positive integers"),
}


@pytest.mark.parametrize("name", NOT_CERTIFICATES)
def test_not_a_certificate(name: str) -> None:
    value, expected = NOT_CERTIFICATES[name]
    verdict, text = sealed_verdict(value)
    assert verdict == "not a certificate", text
    assert expected in text


# --- limits --------------------------------------------------------------------------------------------------


def test_nodes_of_all_trees_together(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, count in (("crossed, cut", 5), ("two preimages", 4)):
        monkeypatch.setattr(box_tree, "MAX_NODES", count)
        assert sealed_verdict(true(name))[0] == "true"
        monkeypatch.setattr(box_tree, "MAX_NODES", count - 1)
        assert sealed_verdict(true(name)) == ("over limits", f"more than {count - 1} nodes in trees")


def test_unknowns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(krawczyk, "MAX_UNKNOWNS", 3)
    assert sealed_verdict(true("prompt")) == ("over limits", "more than 3 unknowns")


def test_hostile_numbers_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_SECONDS", 1)
    huge = hex(1 << 60000)
    hostile = [
        edited("singular", ((*W, "heights", "num", 0), huge)),
        edited("singular", ((*W, "directions", "den"), huge)),
        edited("mass", ((*QUERY, 0, "X", "num", 2, 0), huge)),
        edited("crossed", ((*LEAF, "values", "den"), huge)),
        edited("crossed, cut", ((*LEAF, "at"), {"den": 1, "num": huge})),
        edited("crossed, cut", ((*LEAF, "at"), {"den": 1, "num": "-" + huge})),
        edited("stuck", ((*W, "flow", "num", 0, 1), huge)),
        edited("prompt", ((*W, "radius"), {"den": 1, "num": huge})),
        edited("prompt", ((*W, "tokens", "num", 0, 0), huge)),
        edited("prompt", ((*W, "references", "num", 0), huge)),
        edited("prompt", ((*W, "references", "num", 0), "-" + huge)),
        edited("prompt", ((*W, "counts", 0), huge), (("instance", "length"), hex((1 << 60000) + 4))),
    ]
    for k, value in enumerate(hostile):
        start = time.monotonic()
        verdict, text = sealed_verdict(value)
        assert verdict in ("false", "over limits") or k in (4, 5), k  # a cut far out is harmless
        assert "the kernel failed" not in text
        assert time.monotonic() - start < 4, k
    monkeypatch.undo()
    limits.DEADLINE.start()


def test_bounded_by_the_length() -> None:
    """Without multipliers of the length, and with a length that allows more, there is a prompt: 8 tokens 1 - s/8."""
    assert bounded(8).length == 8
    assert oracle.holds(true("bounded"))
    assert not oracle.holds(FALSE["more tokens"][0])
