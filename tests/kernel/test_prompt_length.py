"""Claim prompt-length-bound: certificates that hold, and each condition violated in turn."""

import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import box_tree
import kernel_certificates as make
import length_oracle as oracle
import limits
import pytest
from kernel_certificates import changed
from length_cases import (
    I_2,
    MAKERS,
    MONOTONE,
    ONE_TOKEN,
    PROMPT,
    SHORT_ROWS,
    boundary,
    boundary_problem,
    by_one,
    collinear,
    collinear_problem,
    crossed_problem,
    edited,
    folded_problem,
    folded_proof,
    rows,
    scaled,
    tight_case,
    tight_problem,
    tight_with_mlp,
    true,
    two_columns,
)
from length_makers import cut, independent, leaf, tight, too_short
from prompt_law_makers import row, sealed_verdict
from several_heads_makers import plus

Json = Any

W = ("witness",)
TREE = (*W, "tree")
FIRST = (*W, "combinations", 0)
QUERY = ("instance", "queries")
NAMES = [name for name in MAKERS if true(name)["claim"] == "prompt-length-bound"]


@pytest.mark.parametrize("name", NAMES)
def test_true(name: str, judge: Callable[[bytes], tuple[str, str]]) -> None:
    verdict, text = judge(make.seal(true(name)))
    assert verdict == "true", text
    assert text.startswith("prompt-length-bound: ")
    assert oracle.holds(true(name))


def test_sentences() -> None:
    """What has been proved, in words."""
    assert sealed_verdict(true("heads"))[1] == (
        "prompt-length-bound: none of all prompts of at most 1 tokens meets every query: independent contributions to "
        "3 of them are needed, and these have no more than 2 dimensions (heads: 2, d = 3, queries: 3, combinations of "
        "preimages: 1, boxes: 1)"
    )
    assert sealed_verdict(true("tight, MLP"))[1] == (
        "prompt-length-bound: none of all prompts of at most 1 tokens gives all inputs the outputs that the given "
        "prompt (tokens: 2) gives (one head, d = 2, inputs: 2, boxes: 1)"
    )
    assert sealed_verdict(true("one token"))[1] == (
        "prompt-length-bound: a prompt with fewer tokens (1) than inputs contributes linearly independent vectors to "
        "all of these, whatever weight stays on their contexts (heads: 2, d = 2, inputs: 2, boxes: 1)"
    )
    assert sealed_verdict(true("stated"))[1] == (
        "prompt-length-bound: the stated prompt (tokens: 2) meets every query (one head, d = 2, queries: 2)"
    )


def dependent() -> Json:
    """Both v are (1, 1)."""
    problem = collinear_problem((2, 1), (-1, 1))
    x = row([3, 1])
    contexts, targets = [two_columns(x, [1, 1]), problem.contexts[1]], [plus(x, row([2, 2])), problem.targets[1]]
    return too_short(replace(problem, contexts=contexts, targets=targets), leaf([[1, 1], [-1, -1]]), length=1)


def halves(alpha: Json) -> Json:
    """alpha - l is 0 at l = 1/2 for alpha = 1/2; the sign of the row is right in each half."""
    below, above = leaf([[1, -1], [0, -1]]), leaf([[-1, 1], [0, -1]])
    return collinear((alpha, 1), tree=cut(0, "1/2", below, above))


def at_zero(**others: Json) -> Json:
    """l = 0 is the only zero of the second contribution; and the first contribution has a part along its row."""
    return collinear((2, 1), (0, 1), leaf([[1, -1], [1, -1]], **others))


def constant_zero() -> Json:
    """a = A = 0."""
    return collinear((2, 1), (0, 0), leaf([[1, -1], [0, -1]]))


def along_nothing() -> Json:
    """The row is orthogonal to both a and A."""
    return collinear((2, 1), (-1, 1), leaf([[1, -1], [1, -1]]))


def side_of_length_zero() -> Json:
    """At l = 0 the contribution is 0: a leaf for this alone has nothing to show, and it is not true by that."""
    good = leaf([[1, -1], [0, -1]])
    return collinear((2, 1), (0, -1), cut(1, 0, leaf([[1, -1], [0, 1]]), good))


def folded_with(*trees: Json, proofs: Json = None) -> Json:
    problem = folded_problem()
    return too_short(problem, *trees, length=1, proofs=proofs or list(map(folded_proof, problem.targets)))


def not_injective() -> Json:
    """W_2 with the other sign: M + M^T = [[1, -1], [-1, 3]] - ..., not positive definite."""
    problem = tight_problem(make.mlp(2, **{**MONOTONE, "W_2": [[-2, 0], [0, "1/2"]]}))
    return tight(problem, PROMPT, leaf(SHORT_ROWS), 1, [[0, 0], [0, 1]])


def contradiction() -> Json:
    """Two inputs with the same token and context: what a prompt contributes is the same."""
    problem = crossed_problem()
    problem = replace(problem, contexts=[problem.contexts[0]] * 2)
    return independent(problem, ONE_TOKEN, leaf([[-1, 12], [1, -4]]))


FALSE: dict[str, tuple[Json, str]] = {
    # how many
    "length by one": (edited("collinear", (("instance", "length"), 2)), "prompts have up to 2 dimensions"),
    "any length": (edited("collinear", (("instance", "length"), None)), "have up to 2 dimensions, the contributions 2"),
    "long": (edited("logits", (("instance", "length"), hex(1 << 70))), "prompts have up to 2 dimensions"),
    "two heads, length by one": (edited("heads", (("instance", "length"), 2)), "prompts have up to 3 dimensions"),
    "tight, length by one": (edited("tight", (("instance", "length"), 2)), "prompts have up to 2 dimensions"),
    "tight, any length": (edited("tight", (("instance", "length"), None)), "prompts have up to 2 dimensions"),
    "as many tokens as inputs": (
        independent(tight_problem(), PROMPT, leaf(SHORT_ROWS)),
        "the prompt has 2 tokens, for 2 inputs",
    ),
    # leaves
    "dependent": (dependent(), "leaf 0: row 0 is not dominated"),
    "zero at 1/2": (collinear(("1/2", 1)), "leaf 0: row 0 is not dominated by its diagonal"),
    "zero at 1/3": (collinear((-1, -3)), "leaf 0: row 0 is not dominated by its diagonal"),
    "zero at 1/2, cut there": (halves("1/2"), "row 0 is 0 at the contribution of query 0, within the open cube"),
    "zero near 1/2, cut there": (halves("51/100"), "leaf 1: row 0 is not dominated"),
    "zero at 0 and a rest": (at_zero(), "row 1 is not dominated by its diagonal"),
    "zero at 0 and a rest, weighed": (at_zero(weights=["1/1000000", 1]), "row 1 is not dominated"),
    "always zero": (constant_zero(), "row 1 is 0 at the contribution of query 1"),
    "a row of zeros": (edited("collinear", ((*FIRST, "rows"), scaled(0))), "row 0 is 0 at the contribution"),
    "a row that sees the other": (along_nothing(), "row 1 is not dominated"),
    "side of length 0": (side_of_length_zero(), "leaf 0: row 1 is 0 at the contribution of query 1"),
    "rows exchanged": (edited("logits", ((*FIRST, "rows", "num"), lambda r: r[::-1])), "row 0 is not dominated"),
    "row reversed": (edited("collinear", ((*FIRST, "rows"), scaled(-1))), "row 0 is not dominated"),
    "an entry of a row": (edited("collinear", ((*FIRST, "rows"), by_one(0, 1, step="2/3"))), "row 0 is not dominated"),
    "weight zero": (edited("collinear", ((*FIRST, "weights"), by_one(1, step=-1))), "leaf 0: a weight is not positive"),
    "weight negative": (edited("collinear", ((*FIRST, "weights"), scaled(-1))), "leaf 0: a weight is not positive"),
    "weights alike": (edited("any length", ((*FIRST, "weights"), by_one(0, step=-1))), "row 0 is not dominated"),
    "weights exchanged": (
        edited("any length", ((*FIRST, "weights"), make.vector([1, 3]))),
        "leaf 0: row 0 is not dominated",
    ),
    "target moved": (
        edited("collinear", ((*QUERY, 0, "target"), by_one(0)), ((*W, "preimages", 0, "z"), by_one(1))),
        "",
    ),
    "context moved": (edited("collinear, at 1", ((*QUERY, 0, "X"), by_one(0, 0, step="1/9"))), "row 0 is not"),
    "mask removed": (edited("masked", (("instance", "layer", "causal"), False)), "is not dominated"),
    "another column": (edited("collinear", ((*QUERY, 0, "column"), 0)), "row 1 is not dominated"),
    # trees
    "one half only": (edited("boundary", (FIRST, lambda node: node["below"])), "leaf 0: row 0 is not dominated"),
    "the other half only": (edited("boundary", (FIRST, lambda node: node["above"])), "leaf 0: row 0 is not dominated"),
    "one leaf for both halves": (
        edited("boundary", (FIRST, lambda node: {**node, "above": node["below"]})),
        "leaf 1: row 0 is not dominated",
    ),
    "halves exchanged": (
        edited("boundary", (FIRST, lambda node: {**node, "above": node["below"], "below": node["above"]})),
        "leaf 0: row 0 is not dominated",
    ),
    "cut below the zero": (boundary("49/100"), "leaf 1: row 0 is not dominated"),
    "boundary with a rest": (boundary(zero="1/1000000"), "leaf 1: row 0 is not dominated"),
    "another side": (edited("boundary", ((*FIRST, "pair"), 1)), "leaf 0: row 0 is not dominated"),
    "side of another query": (edited("boundary", ((*FIRST, "pair"), 2)), "is not dominated"),
    # preimages
    "combinations exchanged": (edited("folded", ((*W, "combinations"), lambda c: c[::-1])), "combination 0, leaf 0"),
    "one tree for all": (edited("folded", ((*W, "combinations"), lambda c: c[:1] * 4)), "combination 2, leaf 0"),
    "points exchanged": (
        edited("folded", ((*W, "preimages", 0, "points"), lambda p: p[::-1])),
        "preimages[0]: piece 0",
    ),
    "piece forgotten": (
        edited(
            "folded",
            ((*W, "preimages", 0, "tree", "inactive"), make.empty([-1])),
            ((*W, "preimages", 0, "points"), lambda p: p[:1]),
            ((*W, "combinations"), lambda c: c[:2]),
        ),
        "preimages[0]: empty leaf 0: the bound is not negative",
    ),
    "point forgotten, false factor": (
        folded_with(leaf([[-1, "1/8"], [0, 1]]), proofs=[make.point(z, [[1]]) for z in rows([[-3, 0], [1, 9]])]),
        "preimages[0]: M + M^T is not shown to be positive definite",
    ),
    "another target": (edited("logits", ((*QUERY, 1, "target"), by_one(0))), "preimages[1]: MLP(z) is not the target"),
    "query exchanged": (edited("subset", ((*W, "queries"), [0, 2])), "preimages[0]: MLP(z) is not the target"),
    "the same query twice": (edited("subset", ((*W, "queries"), [1, 0])), "preimages[0]: MLP(z) is not the target"),
    # tight, independent
    "prompt of dependent outputs": (tight(tight_problem(), rows([[1, 0], [2, 0]]), leaf(SHORT_ROWS), 1), ""),
    "an entry of the prompt": (
        edited("tight", (("instance", "prompt"), by_one(1, 1, step=-2))),
        "leaf 0: row 0 is not dominated by its diagonal",
    ),
    "rows of a prompt": (tight_case(leaf([[-1, 7], [0, 1]])), "row 1 is not dominated"),
    "rows of one token": (edited("one token", ((*TREE, "rows"), by_one(1, 1, step=-6))), "row 1 is not dominated"),
    "rows exchanged, one token": (edited("one token", ((*TREE, "rows", "num"), lambda r: r[::-1])), "row 0 is not"),
    "token reversed": (edited("one token", (("instance", "prompt"), scaled(-1))), "is not dominated"),
    "weight negative, one token": (edited("one token", ((*TREE, "weights"), scaled(-2))), "a weight is not positive"),
    "inputs alike": (contradiction(), "row 0 is not dominated"),
    "inputs exchanged": (edited("one token", (("instance", "inputs"), lambda x: x[::-1])), "row 0 is not dominated"),
    "mask removed, one token": (edited("one token, masked", (("instance", "layer", "causal"), False)), "not dominated"),
    "false factor": (tight_with_mlp([["3/2", 0], [1, "1/2"]]), "MLP: M + M^T is not shown to be positive definite"),
    "no factor": (tight_with_mlp([[0, 0], [0, 0]]), "MLP: M + M^T is not shown to be positive definite"),
    "not injective": (not_injective(), "MLP: M + M^T is not shown to be positive definite"),
    # prompts
    "an entry of the stated prompt": (
        edited("stated", (("instance", "prompt"), by_one(0, 1))),
        "query 0: the attention output is not z - x in coordinate 0",
    ),
    "second coordinate": (
        edited("stated", (("instance", "prompt"), by_one(1, 0, step="1/100"))),
        "query 0: the attention output is not z - x in coordinate 1",
    ),
    "second query": (
        edited("stated", ((*QUERY, 1, "target"), by_one(0)), ((*W, "points", 1), by_one(0))),
        "query 1: the attention output is not z - x in coordinate 0",
    ),
    "logits of the stated prompt": (
        edited("stated, logits", (("instance", "prompt"), by_one(1, 0, step="1/1000"))),
        "query 0: the attention output is not z - x in coordinate 0",
    ),
    "context of the stated prompt": (
        edited("stated, logits", ((*QUERY, 0, "X"), by_one(0, 0))),
        "query 0: the attention output is not z - x in coordinate 0",
    ),
    "target of the stated prompt": (
        edited("stated, logits", ((*QUERY, 0, "target"), by_one(1))),
        "query 0: MLP(z) is not the target",
    ),
    "point of the stated prompt": (edited("stated, logits", ((*W, "points", 1), by_one(1))), "query 1: MLP(z) is not"),
    "head of the stated prompt": (
        edited("stated, logits", (("instance", "layer", "heads", 1, "W_o"), scaled("1001/1000"))),
        "query 0: the attention output is not",
    ),
}


@pytest.mark.parametrize("name", FALSE)
def test_false(name: str) -> None:
    value, expected = FALSE[name]
    verdict, text = sealed_verdict(value)
    assert (verdict, expected in text) == ("false", True), (verdict, text)


def test_the_oracle_believes_none_of_these() -> None:
    for name, (value, _) in FALSE.items():
        assert not oracle.holds(value), name


def test_boundary_problem_crosses_zero() -> None:
    """v_1 of the problem `boundary` is 0 along e_0 within the cube, which is why one leaf does not do."""
    for part in (leaf(make.identity(4)[:3]), leaf([[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])):
        assert sealed_verdict(too_short(boundary_problem(), part, length=1))[0] == "false"
    assert sealed_verdict(boundary())[0] == "true"


# --- the format ----------------------------------------------------------------------------------------------

E2 = make.matrix(make.zeros(2, 4))

NOT_CERTIFICATES: dict[str, tuple[Json, str]] = {
    "relation": ({**true("tight"), "relation": "stuck"}, "relation"),
    "evidence": ({**true("tight"), "evidence": "enclosed"}, "evidence"),
    "evidence of a prompt": ({**true("stated"), "evidence": "enclosed"}, "evidence"),
    "E": (edited("collinear", (("instance", "layer", "E"), E2), (("instance", "length"), 2)), "a layer without E"),
    "E of a prompt": (
        edited("stated", (("instance", "layer", "E"), E2), (QUERY, lambda q: q[:1]), ((*W, "points"), lambda z: z[:1])),
        "instance: expected a layer without E",
    ),
    "E of inputs": (edited("tight", (("instance", "layer", "E"), E2)), "instance: expected a layer without E"),
    "no queries": (edited("collinear", (QUERY, [])), "at least one query"),
    "no queries of a prompt": (edited("stated", (QUERY, [])), "at least one query"),
    "no inputs": (edited("tight", (("instance", "inputs"), [])), "at least one input"),
    "input with a target": (
        edited("tight", (("instance", "inputs", 0), lambda x: {**x, "target": make.vector([0, 0])})),
        'an object with fields "X", "column"',
    ),
    "query without a target": (
        edited("collinear", ((*QUERY, 0), lambda x: {"X": x["X"], "column": 0})),
        'an object with fields "X", "column", "target"',
    ),
    "length of zero": (edited("collinear", (("instance", "length"), 0)), "a positive integer or null"),
    "length of zero, tight": (edited("tight", (("instance", "length"), 0)), "a positive integer or null"),
    "length missing": (edited("tight", (("instance",), lambda i: {k: i[k] for k in i if k != "length"})), "length"),
    "length of one token": (edited("one token", (("instance",), lambda i: {**i, "length": 1})), "an object with"),
    "empty prompt": (edited("tight", (("instance", "prompt"), make.matrix([[], []]))), "at least one column"),
    "prompt too short": (edited("tight", (("instance", "prompt"), make.matrix([[1]]))), "prompt.num"),
    "empty prompt, stated": (edited("stated", (("instance", "prompt"), make.matrix([[], []]))), "at least one column"),
    "no used queries": (edited("subset", ((*W, "queries"), [])), "at least one query, and none twice"),
    "a used query twice": (edited("subset", ((*W, "queries"), [2, 2])), "at least one query, and none twice"),
    "query out of range": (edited("subset", ((*W, "queries", 1), 3)), "queries[1]: expected an integer from 0 to 2"),
    "preimage missing": (edited("subset", ((*W, "preimages"), lambda p: p[1:])), "a list of length 2"),
    "tree missing": (edited("folded", ((*W, "combinations"), lambda c: c[1:])), "combinations: expected a list of"),
    "tree too many": (edited("out of range", ((*W, "combinations"), [leaf(I_2)])), "a list of length 0"),
    "pair out of range": (edited("boundary", ((*FIRST, "pair"), 6)), "pair: expected an integer from 0 to 5"),
    "group for pair": (
        edited("boundary", (FIRST, lambda node: {("group" if k == "pair" else k): x for k, x in node.items()})),
        'an object with fields "rows", "weights"',
    ),
    "half missing": (edited("boundary", (FIRST, lambda node: {k: node[k] for k in node if k != "above"})), "above"),
    "row missing": (edited("collinear", ((*FIRST, "rows"), make.matrix([[1, 1]]))), "rows.num"),
    "row too short": (edited("collinear", ((*FIRST, "rows"), make.matrix([[1], [1]]))), "rows.num[0]"),
    "weight missing": (edited("collinear", ((*FIRST, "weights"), make.vector([1]))), "weights.num"),
    "factor of another size": (edited("tight, MLP", ((*W, "factor"), make.matrix([[1]]))), "factor.num"),
    "factor for no units": (edited("tight", ((*W, "factor"), make.matrix([[1]]))), "factor.num"),
    "points missing": (edited("stated", ((*W, "points"), lambda z: z[1:])), "points: expected a list of length 2"),
    "point too long": (edited("stated", ((*W, "points", 0), make.vector([0] * 3))), "points[0].num"),
}


@pytest.mark.parametrize("name", NOT_CERTIFICATES)
def test_not_a_certificate(name: str) -> None:
    value, expected = NOT_CERTIFICATES[name]
    verdict, text = sealed_verdict(value)
    assert verdict == "not a certificate", text
    assert expected in text


# --- limits --------------------------------------------------------------------------------------------------


def test_nodes_of_all_trees_together(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, count in (("boundary", 3), ("folded", 4), ("tight", 1)):
        monkeypatch.setattr(box_tree, "MAX_NODES", count)
        assert sealed_verdict(true(name))[0] == "true"
        monkeypatch.setattr(box_tree, "MAX_NODES", count - 1)
        assert sealed_verdict(true(name)) == ("over limits", f"more than {count - 1} nodes in trees")


def test_hostile_numbers_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_SECONDS", 1)
    huge = hex(1 << 60000)
    hostile = [
        edited("logits", ((*FIRST, "rows", "num", 0, 0), "-" + huge)),
        edited("logits", ((*FIRST, "weights", "num", 1), huge)),
        edited("logits", ((*QUERY, 0, "X", "num", 0, 0), huge)),
        edited("logits", (("instance", "layer", "heads", 0, "W_k", "den"), huge)),
        edited("one token", (("instance", "prompt", "num", 0, 0), huge)),
        edited("one token", (("instance", "layer", "heads", 0, "W_q", "num", 0, 1), huge)),
        edited("stated, logits", (("instance", "prompt", "num", 0, 0), huge), ((*W, "points", 0), by_one(1))),
        edited("boundary", ((*FIRST, "at"), {"den": 1, "num": huge})),
    ]
    for k, value in enumerate(hostile):
        start = time.monotonic()
        verdict, text = sealed_verdict(value)
        assert verdict in ("false", "over limits") or k == 3, k  # logits that are close to 0
        assert "the kernel failed" not in text
        assert time.monotonic() - start < 4, k
    monkeypatch.undo()
    limits.DEADLINE.start()


def test_products_that_explode_are_over_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """12 heads with 4 columns each: 4^12 terms."""
    monkeypatch.setattr(limits, "MAX_SECONDS", 1)
    d = 1
    heads = [make.head(d, W_q=[[Fraction(1, p)]]) for p in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)]
    X = make.matrix([[Fraction(1, p) for p in (41, 43, 47, 53)]])
    value = changed(true("one token"), ("instance", "layer"), make.layer(heads, make.mlp(d)))
    value = changed(value, ("instance", "inputs"), [{"X": X, "column": 3}] * 2)
    value = changed(value, ("instance", "prompt"), make.matrix([[1]]))
    value = changed(value, (*TREE, "rows"), make.matrix([[1], [1]]))
    start = time.monotonic()
    verdict, text = sealed_verdict(value)
    assert (verdict, text) == ("over limits", "more than 1 seconds")
    assert time.monotonic() - start < 4
    monkeypatch.undo()
    limits.DEADLINE.start()
