"""Claim low-rank-memorization: certificates that hold, and each condition violated in turn."""

import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import kernel_certificates as make
import length_oracle as oracle
import limits
import pytest
from kernel_certificates import changed
from kernel_oracle import values
from length_cases import (
    MAKERS,
    STEPS,
    by_one,
    edited,
    exponential_problem,
    rational_problem,
    rows,
    same_feature_other_token,
    scaled,
    true,
    two_columns,
    uniform_of_size,
)
from length_makers import Problem, impossible, triangular, updated
from prompt_law_makers import sealed_verdict
from vectors import rank

Json = Any

W = ("witness",)
QUERY = ("instance", "queries")
NAMES = [name for name in MAKERS if true(name)["claim"] == "low-rank-memorization"]


@pytest.mark.parametrize("name", NAMES)
def test_true(name: str, judge: Callable[[bytes], tuple[str, str]]) -> None:
    verdict, text = judge(make.seal(true(name)))
    assert verdict == "true", text
    assert text.startswith("low-rank-memorization: ")
    assert oracle.holds(true(name))


def test_sentences() -> None:
    """What has been proved, in words."""
    assert sealed_verdict(true("steps"))[1] == (
        "low-rank-memorization: with the stated W_1 (rows changed: 2, change of rank 2) and b_1 (entries changed: 3), "
        "some W_2 that differs in at most 3 columns makes the layer meet every query without a prompt (one head, "
        "d = 2, hidden units: 3, queries: 3)"
    )
    assert sealed_verdict(true("steps, exponential"))[1] == (
        "low-rank-memorization: with the stated W_1 (rows changed: 2, change of rank 2) and b_1 (entries changed: 1), "
        "some W_2 that differs in at most 3 columns makes the layer meet every query without a prompt (heads: 2, "
        "d = 2, hidden units: 3, queries: 3)"
    )
    assert sealed_verdict(true("updated, exponential"))[1] == (
        "low-rank-memorization: with the stated weights of the MLP (change of W_1 of rank 0, of W_2 of rank 2) the "
        "layer meets every query without a prompt (heads: 2, d = 2, hidden units: 3, queries: 3)"
    )
    assert sealed_verdict(true("same feature"))[1] == (
        "low-rank-memorization: whatever the weights of the MLP, without a prompt the layer does not meet both query 2 "
        "and query 0: the MLP has the same input at both (heads: 2, d = 2, hidden units: 3, queries: 3)"
    )


def repeated_feature() -> Json:
    """Query 1 as query 0: no neuron tells them apart."""
    problem = rational_problem()
    return triangular(
        replace(problem, contexts=[problem.contexts[0], *problem.contexts[:2]]), *STEPS, [0, 1, 2], [0, 1, 2]
    )


def same_token() -> Json:
    """The same token, and contexts that are alike but for one column."""
    problem = exponential_problem()
    contexts = [problem.contexts[0], [*rows([[0, "999/1000"]]), *problem.contexts[0][1:]], problem.contexts[2]]
    return impossible(replace(problem, contexts=contexts), 0, 1)


FALSE: dict[str, tuple[Json, str]] = {
    # triangular updates
    "neurons exchanged": (edited("steps", ((*W, "neurons"), [1, 0, 2])), "neuron 1 at query 0, on the diagonal: not"),
    "queries exchanged": (
        edited("steps", ((*W, "order"), [0, 2, 1])),
        "neuron 2 at query 2, above the diagonal: active",
    ),
    "order reversed": (edited("steps", ((*W, "order"), [2, 1, 0])), "above the diagonal: active"),
    "both reversed": (edited("steps", ((*W, "order"), [2, 1, 0]), ((*W, "neurons"), [2, 1, 0])), "above the diagonal"),
    "exactly 0 on the diagonal": (
        edited("steps", ((*W, "b_1"), by_one(1, step="-5/2"))),
        "neuron 1 at query 1, on the diagonal: not active",
    ),
    "close to 0 above the diagonal": (
        edited("steps, mixed", ((*W, "b_1"), by_one(0, step="1/1000000"))),
        "neuron 0 at query 0, above the diagonal: active",
    ),
    "sign of a row": (edited("steps", ((*W, "W_1"), scaled(-1))), "neuron 0 at query 0, on the diagonal: not active"),
    "sign of a bias": (edited("steps", ((*W, "b_1"), scaled(-1))), "above the diagonal: active"),
    "repeated feature": (repeated_feature(), "neuron 1 at query 1, on the diagonal: not active"),
    "neurons exchanged, exponential": (edited("steps, exponential", ((*W, "neurons"), [2, 1, 0])), "diagonal"),
    "bias, exponential": (edited("steps, exponential", ((*W, "b_1"), by_one(1, step=-1))), "neuron 1 at query 1"),
    "context, exponential": (edited("steps, exponential", ((*QUERY, 0, "X"), scaled(-1))), "diagonal"),
    # updated weights
    "entry of W_2": (edited("updated", ((*W, "W_2"), by_one(0, 1))), "query 1: the output is not the target in"),
    "entry of W_2, last": (edited("updated", ((*W, "W_2"), by_one(1, 2))), "query 2: the output is not the target in"),
    "entry of b_2": (edited("updated", ((*W, "b_2"), by_one(1))), "query 0: the output is not the target in coord"),
    "entry of b_1": (edited("updated", ((*W, "b_1"), by_one(0, step="1/7"))), "query 0: the output is not the target"),
    "entry of W_1": (edited("updated", ((*W, "W_1"), by_one(1, 1))), "query 1: the output is not the target"),
    "the old weights": (
        edited("updated", ((*W,), lambda _: true("updated")["instance"]["layer"]["mlp"])),
        "query 0: the output is not the target",
    ),
    "entry of W_2, exponential": (
        edited("updated, exponential", ((*W, "W_2"), by_one(0, 0, step="1/1000000"))),
        "query 0: the output is not the target in coordinate 0",
    ),
    "unit that becomes active": (
        edited("updated, exponential", ((*W, "b_1"), by_one(2, step=9))),
        "query 0: the output is not the target in coordinate 0",
    ),
    "another target": (
        edited("updated, exponential", ((*QUERY, 2, "target"), by_one(1))),
        "query 2: the output is not the target in coordinate 1",
    ),
    # impossible
    "equal targets": (
        edited("same feature", ((*QUERY, 0, "target"), make.vector(["1/3", 2]))),
        "queries 2 and 0 have the same target",
    ),
    "one query": (edited("same feature", ((*W, "queries"), [1, 1])), "queries 1 and 1 have the same target"),
    "other queries": (edited("same feature", ((*W, "queries"), [0, 1])), "queries 0 and 1 have different features"),
    "context by one entry": (
        edited("same feature", ((*QUERY, 0, "X"), by_one(0, 1, step="1/1000000"))),
        "queries 2 and 0 have different features, in coordinate 0",
    ),
    "column missing": (same_token(), "queries 0 and 1 have different features"),
    "token by one entry": (
        edited("same feature, other token", ((*QUERY, 1, "X"), by_one(1, 1))),
        "queries 0 and 1 have different features, in coordinate 1",
    ),
    "other column": (edited("same feature, other token", ((*QUERY, 1, "column"), 0)), "have different features"),
}


@pytest.mark.parametrize("name", FALSE)
def test_false(name: str) -> None:
    value, expected = FALSE[name]
    verdict, text = sealed_verdict(value)
    assert (verdict, expected in text) == ("false", True), (verdict, text)
    assert not oracle.holds(value)


def test_the_mask_counts() -> None:
    """Columns behind the token are seen, or not."""
    contexts = [two_columns([1, 0], [1, 3]), two_columns([0, 1], [2, 2])]
    problem = Problem([uniform_of_size(2)], contexts, rows([[0, 0], [0, 1]]), hidden=[rows([[9, 9]]), []])
    assert sealed_verdict(impossible(problem, 0, 1))[0] == "true"
    value = changed(impossible(problem, 0, 1), ("instance", "layer", "causal"), False)
    assert sealed_verdict(value)[0] == "false"


def test_weights_that_fit_exist_for_a_triangular_update() -> None:
    """`updated` solves for W_2 with the first layer of `steps`, and no fewer than all three neurons."""
    W_1, b_1 = (true("updated")["witness"][name] for name in ("W_1", "b_1"))
    assert (W_1, b_1) == tuple(true("steps")["witness"][name] for name in ("W_1", "b_1"))
    columns = values(true("updated")["witness"]["W_2"])
    assert all(any(row[c] for row in columns) for c in range(3))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], 0),
        ([(0, 0)], 0),
        ([(0, 3), (0, 0), (0, -5)], 1),
        ([(2, 4, 6), (1, 2, 3), (0, 1, 1)], 2),
        ([(1, 2, 3), (4, 5, 6), (7, 8, 9)], 2),
        ([(1, 2, 3), (4, 5, 6), (7, 8, 10)], 3),
        ([(0, 0, 2, 1), (0, 0, 4, 3), (0, 5, 1, 1), (0, 5, 7, 5)], 3),
        ([(10**30 + 1, 10**30), (10**30, 10**30 - 1)], 2),
    ],
)
def test_rank(rows: Any, expected: int) -> None:
    assert rank(rows) == expected
    assert rank([row[::-1] for row in rows[::-1]]) == expected


E2 = make.matrix(make.zeros(2, 4))

NOT_CERTIFICATES: dict[str, tuple[Json, str]] = {
    "relation": ({**true("steps"), "relation": "tight"}, "relation"),
    "evidence": ({**true("steps"), "evidence": "enclosed"}, "evidence"),
    "E": (edited("same feature, other token", (("instance", "layer", "E"), E2)), "a layer without E"),
    "no queries": (edited("steps", (QUERY, [])), "at least one query"),
    "a length": (edited("steps", (("instance",), lambda i: {**i, "length": 1})), "an object with fields"),
    "neuron twice": (edited("steps", ((*W, "neurons"), [0, 1, 1])), "neurons: expected different numbers"),
    "query twice": (edited("steps", ((*W, "order"), [0, 1, 1])), "order: expected different numbers"),
    "neuron out of range": (edited("steps", ((*W, "neurons", 0), 3)), "neurons[0]: expected an integer from 0 to 2"),
    "neuron missing": (edited("steps", ((*W, "neurons"), [0, 1])), "neurons: expected a list of length 3"),
    "query out of range": (edited("steps", ((*W, "order", 2), 3)), "order[2]: expected an integer from 0 to 2"),
    "W_1 of another shape": (edited("steps", ((*W, "W_1"), make.matrix([[1, 1]] * 4))), "W_1.num"),
    "b_1 of another length": (edited("steps", ((*W, "b_1"), make.vector([1, 1]))), "b_1.num"),
    "W_2 of another shape": (edited("updated", ((*W, "W_2"), make.matrix(make.zeros(2, 2)))), "W_2.num"),
    "b_2 of another length": (edited("updated", ((*W, "b_2"), make.vector([1]))), "b_2.num"),
    "three queries": (edited("same feature", ((*W, "queries"), [0, 1, 2])), "queries: expected a list of length 2"),
    "a query that is none": (edited("same feature", ((*W, "queries"), [0, 3])), "queries[1]: expected an integer"),
}


@pytest.mark.parametrize("name", NOT_CERTIFICATES)
def test_not_a_certificate(name: str) -> None:
    value, expected = NOT_CERTIFICATES[name]
    verdict, text = sealed_verdict(value)
    assert verdict == "not a certificate", text
    assert expected in text


def test_hostile_numbers_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_SECONDS", 1)
    huge = hex(1 << 60000)
    hostile = [
        edited("steps, exponential", ((*W, "W_1", "num", 0, 0), huge)),
        edited("steps, exponential", ((*QUERY, 2, "X", "num", 0, 1), huge)),
        edited("steps, exponential", (("instance", "layer", "heads", 0, "W_k", "num", 0, 0), huge)),
        edited("updated, exponential", ((*W, "W_2", "num", 0, 2), huge), ((*W, "b_1", "num", 2), huge)),
        edited("same feature", ((*QUERY, 2, "X", "num", 0, 0), huge)),
    ]
    for k, value in enumerate(hostile):
        start = time.monotonic()
        verdict, text = sealed_verdict(value)
        assert verdict in ("false", "over limits") or k in (1, 2), k  # some signs do not change
        assert "the kernel failed" not in text
        assert time.monotonic() - start < 4, k
    monkeypatch.undo()
    limits.DEADLINE.start()


def test_no_hidden_units() -> None:
    """An MLP that only shifts: two queries cannot be told apart by W_2, and b_2 is the same for both."""
    problem = Problem([uniform_of_size(2)], [rows([[1, 1]]), rows([[2, 2]])], rows([[3, 2], [5, 4]]))
    assert sealed_verdict(updated(problem, [], [], [[], []], [1, 0]))[0] == "true"
    assert sealed_verdict(updated(problem, [], [], [[], []], [1, Fraction(1, 10**9)]))[0] == "false"
    assert sealed_verdict(same_feature_other_token())[0] == "true"
