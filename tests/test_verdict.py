"""Verdicts: three states, no truth value; facts say whether they hold and why."""

from __future__ import annotations

import dataclasses

import pytest

from constructions.verdict import Evidence, Fact, Memorization, Undecided, Verdict

MEMBERS = [member for kind in (Verdict, Memorization, Evidence) for member in kind]


@pytest.mark.parametrize("member", MEMBERS, ids=str)
def test_no_truth_value(member: Verdict | Memorization | Evidence) -> None:
    name = f"{type(member).__name__}.{member.name}"
    with pytest.raises(TypeError, match=f"^{name} has no truth value; compare it: verdict is {name}$"):
        bool(member)
    for use in (lambda: not member, lambda: member and True, lambda: member or True, lambda: 1 if member else 0):
        with pytest.raises(TypeError, match="no truth value"):
            use()
    for use in (lambda: any([member]), lambda: all([member]), lambda: list(filter(None, [member]))):
        with pytest.raises(TypeError, match="no truth value"):
            use()


@pytest.mark.parametrize("member", MEMBERS, ids=str)
def test_compared_by_identity(member: Verdict | Memorization | Evidence) -> None:
    assert [other for other in MEMBERS if other is member] == [member]
    assert [other for other in MEMBERS if other == member] == [member]  # undecided of one kind is not that of another
    assert type(member)(member.value) is member
    assert member in MEMBERS
    assert {member: 1}[member] == 1


def test_the_states_by_name() -> None:
    assert [v.value for v in Verdict] == ["proved", "refuted", "undecided"]
    assert [v.value for v in Memorization] == ["memorizable", "unmemorizable", "undecided"]
    assert [v.value for v in Evidence] == ["exact", "enclosed", "sampled"]


def test_fact() -> None:
    fact = Fact("full rank", False, "rank 1 of 2")
    assert str(fact) == "full rank: fails (rank 1 of 2)"
    assert str(Fact("full rank", True, "rank 2")) == "full rank: holds (rank 2)"
    with pytest.raises(dataclasses.FrozenInstanceError):
        fact.holds = True  # type: ignore[misc]


def test_undecided_is_an_exception_of_its_own() -> None:
    assert Undecided.__bases__ == (Exception,)  # no handler of arithmetic or value errors can swallow it
