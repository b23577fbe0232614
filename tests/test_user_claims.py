"""Cases by hypothesis: what counts as a refutation, what as a mistake, and how many examples there were."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume
from hypothesis import strategies as st

from constructions.verdict import Evidence, Undecided, Verdict
from verify.claims import CaseResult
from verify.counterexample import Refuted
from verify.strategies import smallest
from verify.user_claims import property_case


def run(check: Callable[..., Any], strategy: st.SearchStrategy[int], **more: Any) -> CaseResult:
    return property_case("case", {"n": strategy}, check, **more).check()


def passes(n: int) -> None: ...


def test_as_many_examples_are_told_as_were_tried() -> None:
    calls: list[int] = []
    result = run(lambda n: calls.append(n), st.integers(0, 3))
    assert result.verdict is Verdict.UNDECIDED
    assert result.evidence is Evidence.SAMPLED
    assert sorted(calls) == [0, 1, 2, 3]
    assert result.summary == "no counterexample among 4 examples"
    calls.clear()
    assert (
        run(lambda n: calls.append(n), st.integers(), examples=30).summary
        == f"no counterexample among {len(calls)} examples"
    )
    assert len(calls) == 30


def test_examples_that_the_check_rejects_are_not_counted() -> None:
    passed: list[int] = []

    def check(n: int) -> None:
        assume(n % 2)
        passed.append(n)

    assert run(check, st.integers(), examples=40).summary == f"no counterexample among {len(passed)} examples"


@pytest.mark.parametrize("strategy", [st.just(1), st.nothing()], ids=["no such example", "unsatisfiable"])
def test_a_search_within_the_check_that_finds_nothing_proves_nothing(strategy: st.SearchStrategy[int]) -> None:
    def check(n: int) -> None:
        smallest(strategy, lambda value: False, max_examples=3)

    with pytest.raises(RuntimeError, match=r"check: (NoSuchExample|Unsatisfiable): "):
        run(check, st.integers(), prove=lambda: pytest.fail("nothing is to be proved"))


@pytest.mark.parametrize("returned", [False, True, 0, [], "x"])
def test_a_check_that_returns_something_is_a_mistake(returned: object) -> None:
    with pytest.raises(
        TypeError, match="check: expected to return nothing and to raise Refuted, found that it returns"
    ):
        run(lambda n: returned, st.integers(), prove=lambda: pytest.fail("nothing is to be proved"))


@pytest.mark.parametrize(
    "strategy", [st.nothing(), st.integers().filter(lambda n: n != n)], ids=["nothing", "filtered"]
)
def test_strategies_that_draw_nothing(strategy: st.SearchStrategy[int]) -> None:
    with pytest.raises(Undecided, match="no example could be drawn: the strategies, with their filters, leave none"):
        run(passes, strategy, prove=lambda: pytest.fail("nothing is to be proved"))


def test_a_proof_that_is_none() -> None:
    forgotten: Any = lambda: None  # noqa: E731
    with pytest.raises(TypeError, match="prove: expected to return a Certificate, found NoneType"):
        run(passes, st.integers(), prove=forgotten)


@pytest.mark.parametrize(
    ("arguments", "more", "said"),
    [
        ((5,), {}, "expected the sentence to be text, found 5"),
        (("x", [1, 2]), {}, r'expected the instance to be a mapping of names to parts, {"x": …}, found [1, 2]'),
        (
            ("x",),
            {"evidence": "sampled"},
            "expected evidence to be Evidence.EXACT, ENCLOSED or SAMPLED, found 'sampled'",
        ),
        (("x",), {"certificate": {"a": 1}}, "expected certificate to be a Certificate, found {'a': 1}"),
    ],
)
def test_what_is_no_refutation(arguments: tuple[Any, ...], more: dict[str, Any], said: str) -> None:
    with pytest.raises(TypeError) as caught:
        Refuted(*arguments, **more)
    assert str(caught.value) == f"Refuted: {said}"
