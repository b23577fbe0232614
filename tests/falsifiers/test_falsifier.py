"""The search itself: budget, seed, slack, flaws; on a claim simple enough to know all answers."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from flint import fmpq

from constructions.verdict import Evidence, Undecided, Verdict
from verify.counterexample import Counterexample
from verify.falsifiers.explore import explore, in_turn
from verify.falsifiers.falsifier import LOWERED, RAISED, Falsifier, Flaw, Search, Trial, falsify


def product(search: Search) -> Iterator[Trial]:
    """x (1 − x) ≤ 1/4 for x in [0, 1], and ≥ 0 there."""

    def judge(x: fmpq) -> Trial:
        reached, allowed = x * (1 - x), fmpq(1, 4) * search.factor("a quarter")
        broken = not 0 <= reached <= allowed
        found = Counterexample("product", f"expected 0 to {allowed}, found {reached}", {"x": x}) if broken else None
        return Trial(f"x = {x}", 1 - reached / allowed, found)

    def draw(rng: random.Random) -> fmpq:
        return fmpq(rng.randint(0, 8), 8) if search.keeps("x in [0, 1]") else fmpq(rng.randint(-8, 16), 8)

    return explore(search, judge, draw=draw, structured=[fmpq(0)])


PRODUCT = Falsifier(
    "product", product, {"x in [0, 1]": "a number between 0 and 1"}, {"a quarter": "the bound"}, budget=40
)


def test_the_true_claim_is_never_more_than_undecided() -> None:
    found = falsify(PRODUCT)
    assert (found.verdict, found.tried, found.counterexample) == (Verdict.UNDECIDED, 40, None)
    assert (found.slack, found.at) == (0, "x = 1/2")
    assert found.tightness["a quarter"].slack == 0


@pytest.mark.parametrize("flaw", PRODUCT.flaws(), ids=str)
def test_each_flaw_is_found(flaw: Flaw) -> None:
    found = falsify(PRODUCT, flaw=flaw)
    assert found.verdict is Verdict.REFUTED
    assert found.counterexample is not None
    assert found.at == f"x = {found.counterexample.instance['x']}"


def test_the_seed_and_the_budget_say_what_is_tried() -> None:
    def tried(seed: int, budget: int) -> list[str]:
        seen: list[str] = []

        def trials(search: Search) -> Iterator[Trial]:
            for trial in PRODUCT.trials(search):
                seen.append(trial.what)
                yield trial

        falsify(Falsifier("product", trials), seed=seed, budget=budget)
        return seen

    assert tried(3, 20) == tried(3, 20)
    assert tried(3, 20)[:7] == tried(3, 7)
    assert tried(3, 20) != tried(4, 20)
    assert tried(3, 0) == []


def test_progress_and_time() -> None:
    seen: list[tuple[int, int, fmpq | None]] = []
    falsify(PRODUCT, budget=3, on_progress=lambda *step: seen.append(step))
    assert [step[:2] for step in seen] == [(1, 3), (2, 3), (3, 3)]
    assert seen[0][2] == 1
    assert falsify(PRODUCT, max_seconds=0).tried == 0
    finite = Falsifier("finite", lambda search: iter([Trial("only one")]))
    found = falsify(finite, budget=9)
    assert (found.tried, found.slack, found.at, dict(found.tightness)) == (1, None, None, {})


def test_flaws_are_named_and_checked() -> None:
    many = Falsifier(
        "many", product, {"c": ""}, {"upper": "", "lower": ""}, {"c": "it is not needed"}, raised=frozenset({"lower"})
    )
    assert [str(flaw) for flaw in many.flaws()] == ["without c", "upper times 99/100", "lower times 101/100"]
    assert [many.reason(flaw) for flaw in many.flaws()] == ["it is not needed", None, None]
    for flaw in (Flaw(dropped="upper"), Flaw(lowered="c")):
        with pytest.raises(ValueError, match="expected one of the"):
            falsify(many, flaw=flaw)
    with pytest.raises(ValueError, match="one of dropped and lowered"):
        Flaw()
    with pytest.raises(ValueError, match="one of dropped and lowered"):
        Flaw(dropped="c", lowered="upper")
    for parts in (
        {"unfindable": {"other": "why"}},
        {"raised": frozenset({"c"})},
        {"constants": {"c": ""}},
    ):
        with pytest.raises(ValueError, match="many: expected"):
            Falsifier("many", product, **{"conditions": {"c": ""}, **parts})  # type: ignore[arg-type]


def test_a_search_knows_its_flaw() -> None:
    dropped, lowered = (Search(random.Random(0), flaw) for flaw in (Flaw(dropped="c"), Flaw(lowered="k")))
    assert (dropped.keeps("c"), dropped.keeps("d"), dropped.factor("k")) == (False, True, 1)
    assert (lowered.keeps("k"), lowered.factor("k"), lowered.factor("c")) == (True, LOWERED, 1)
    assert Search(random.Random(0), Flaw(lowered="k", factor=RAISED)).factor("k") == RAISED


def test_slacks_of_several_constants_are_kept_apart() -> None:
    trials = [Trial("a", fmpq(1, 2), constant="x"), Trial("b", fmpq(1, 3), constant="y"), Trial("c", fmpq(2, 3))]
    found = falsify(Falsifier("s", lambda search: in_turn(iter(trials)), constants={"x": "", "y": ""}))
    assert {name: (m.slack, m.at) for name, m in found.tightness.items()} == {
        "x": (fmpq(1, 2), "a"),
        "y": (fmpq(1, 3), "b"),
        "slack": (fmpq(2, 3), "c"),
    }
    assert (found.slack, found.at) == (fmpq(1, 3), "b")


def test_what_cannot_be_told_ends_the_search_and_is_said() -> None:
    def trials(search: Search) -> Iterator[Trial]:
        yield Trial("first", fmpq(1))
        raise Undecided("a ball straddles zero")

    found = falsify(Falsifier("wide", trials))
    assert (found.verdict, found.tried, found.slack) == (Verdict.UNDECIDED, 1, 1)
    assert found.stopped == "a ball straddles zero"
    assert falsify(PRODUCT, budget=2).stopped is None


def test_a_sampled_counterexample_refutes_nothing() -> None:
    found = Counterexample("loose", "looks wrong", {}, Evidence.SAMPLED)
    with pytest.raises(ValueError, match="found a sampled one"):
        falsify(Falsifier("loose", lambda search: iter([Trial("x", counterexample=found)])))
