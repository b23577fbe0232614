"""Random and mutated certificates: the kernel agrees with the oracle, and a changed file is never believed."""

from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import kernel_certificates as make
import kernel_oracle as oracle
import pytest
import verdict
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from kernel_certificates import changed, places, seal

Json = Any

small = st.fractions(-3, 3, max_denominator=4)


def vectors(length: int) -> st.SearchStrategy[list[Fraction]]:
    return st.lists(small, min_size=length, max_size=length)


def rows(height: int, width: int) -> st.SearchStrategy[list[list[Fraction]]]:
    return st.lists(vectors(width), min_size=height, max_size=height)


def dot(u: list[Fraction], v: list[Fraction]) -> Fraction:
    return sum((a * b for a, b in zip(u, v, strict=True)), Fraction(0))


def times(A: list[list[Fraction]], B: list[list[Fraction]]) -> list[list[Fraction]]:
    return [[dot(row, list(column)) for column in zip(*B, strict=True)] for row in A]


@st.composite
def separations(draw: Callable[..., Any]) -> Json:
    """A pair of queries with point preimages and a vector w; signs are chosen so that many certificates hold."""
    d = draw(st.integers(1, 3))
    count = draw(st.integers(1, 2))
    fit = draw(st.booleans())  # aim at a certificate that holds
    heads = []
    for _ in range(count):
        s = draw(st.integers(1, d))
        heads.append(
            {name: draw(rows(s, d)) for name in ("W_q", "W_k", "W_v")}
            | {"W_o": draw(rows(d, s)), "b_q": draw(vectors(s))}
        )
    w = draw(vectors(d))
    chosen = draw(st.integers(0, count - 1))
    if count == 2 and (fit or draw(st.booleans())):  # make the other head blind to w
        heads[1 - chosen]["W_o"] = [[Fraction(0)] * len(row) for row in heads[1 - chosen]["W_o"]]

    r = draw(st.integers(0, 2))
    W_1, W_2, b_1, b_2 = draw(rows(r, d)), draw(rows(d, r)), draw(vectors(r)), draw(vectors(d))
    W_1 = [[x / 12 for x in row] for row in W_1]  # then M + M^T is close to 2 I
    net = make.mlp(d, W_1=W_1, W_2=W_2, b_1=b_1, b_2=b_2)

    g = [dot(w, column) for column in map(list, zip(*times(heads[chosen]["W_o"], heads[chosen]["W_v"]), strict=True))]
    token = [Fraction(0)] * d if fit else draw(vectors(d))
    argument = draw(st.sampled_from(["cone", "closeness"]))
    queries, proofs, tokens = [], [], []
    for side in (1, -1):
        if not (fit and queries and argument == "closeness"):  # else the context of the first query
            tokens = draw(st.lists(vectors(d), max_size=2))
        z = draw(vectors(d))
        if fit and argument == "cone":
            tokens = [[-x for x in t] if side * dot(g, t) < 0 else t for t in tokens]
        difference = [a - b for a, b in zip(z, token, strict=True)]
        if fit and side * dot(w, difference) > 0:
            z = [b - a for a, b in zip(difference, token, strict=True)]
        tokens = [*tokens, token if fit or draw(st.integers(0, 9)) else draw(vectors(d))]
        y = oracle.Mlp(net)(z)
        queries.append(make.query([list(row) for row in zip(*tokens, strict=True)], len(tokens) - 1, y))
        proofs.append(make.point(z, [[int(i == j) for j in range(r)] for i in range(r)]))
    layer = make.layer([make.head(d, **head) for head in heads], net)
    step = make.separation(w, argument=argument, head_index=chosen)
    return make.pair(
        {"layer": layer, "queries": queries}, {"argument": "separation", "preimages": proofs, "pairs": [[step]]}
    )


FOUND: Counter[str] = Counter()


@settings(max_examples=2 * settings.default.max_examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(separations())
def test_separation_agrees_with_balls(value: Json) -> None:
    try:
        expected = oracle.holds(value)
    except oracle.UnsureError:
        assume(False)
    sentence = judged(value)
    FOUND[sentence[0]] += 1
    assert sentence[0] == ("true" if expected else "false"), sentence


def test_both_answers_were_found() -> None:
    """The property above is not empty (it has run before, in the same process, or nothing is known)."""
    assert not FOUND or (FOUND["true"] >= 10 and FOUND["false"] >= 10), FOUND


@st.composite
def leaf_bounds(draw: Callable[..., Any]) -> Json:
    """Out-of-range and separation by trees over random small MLPs, in one or two dimensions."""
    d, r = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    net = make.mlp(d, W_1=draw(rows(r, d)), W_2=draw(rows(d, r)), b_1=draw(vectors(r)), b_2=draw(vectors(d)))

    def node(free: list[int], pieces: bool) -> Json:
        if free and draw(st.booleans()):
            unit, *rest = draw(st.permutations(free))
            return make.branch(unit, node(rest, pieces), node(rest, pieces))
        if pieces and draw(st.booleans()):
            return make.PIECE
        return make.empty([-abs(x) for x in draw(vectors(r))])

    target = draw(vectors(d))
    layer = make.layer([make.head(d)], net)
    first = make.query([[x] for x in draw(vectors(d))], 0, target)
    return make.pair(
        {"layer": layer, "queries": [first]},
        {"argument": "out-of-range", "preimage": make.tree(node(list(range(r)), False))},
    )


def judged(value: Json) -> tuple[str, str]:
    """Verdict and text, without a file."""
    original = verdict.read_file
    verdict.read_file = lambda _: seal(value)
    try:
        answer = verdict.judge("x")
    finally:
        verdict.read_file = original
    return answer.verdict, answer.text


@settings(max_examples=settings.default.max_examples, deadline=None)
@given(leaf_bounds())
def test_trees_agree_with_the_oracle(value: Json) -> None:
    answer = judged(value)
    assert answer[0] == ("true" if oracle.holds(value) else "false"), answer


@settings(max_examples=settings.default.max_examples, deadline=None)
@given(leaf_bounds(), vectors(2))
def test_out_of_range_targets_have_no_preimage(value: Json, z: list[Fraction]) -> None:
    """Of a target that MLP(z) hits, no tree proves that it is out of range."""
    instance = value["instance"]
    net = oracle.Mlp(instance["layer"]["mlp"])
    instance["queries"][0]["target"] = make.vector(net(z[: len(net.b_2)]))
    assert judged(value)[0] == "false"


def nudged(old: Json) -> Json:
    """Another value of the same kind, or nothing for a container."""
    if isinstance(old, bool):
        return not old
    if isinstance(old, int):
        return old + 1
    if isinstance(old, str):
        return {"cone": "closeness", "closeness": "cone", "piece": "empty", "exact": "enclosed"}.get(old, old + "1")
    return None


@pytest.mark.parametrize("name", make.TRUE)
def test_mutations(name: str) -> None:
    """Any single value changed: without a new hash not believed; with one believed only if still true."""
    value = make.TRUE[name]
    sealed = seal(value)
    still_true = 0
    for path in places(value):
        old: Json = value
        for key in path:
            old = old[key]
        for new in (nudged(old), -old if type(old) is int and old else None, 0 if type(old) is int else None):
            if new is None or new == old:
                continue
            mutant = changed(value, path, new)
            unsealed = seal(mutant).decode().replace(hash_of(seal(mutant)), hash_of(sealed)).encode()
            assert judge_bytes(unsealed)[0] != "true", path
            answer = judged(mutant)
            if answer[0] == "true":
                still_true += 1
                assert path[0] == "toolkit" or oracle.holds(mutant), (path, new, answer)
            elif answer[0] == "false":
                assert not oracle.holds(mutant), (path, new, answer)
            else:
                assert answer[0] == "not a certificate", (path, new, answer)
    assert still_true  # toolkit versions at least


def hash_of(data: bytes) -> str:
    return str(make.json.loads(data)["sha256"])


def judge_bytes(data: bytes) -> tuple[str, str]:
    original = verdict.read_file
    verdict.read_file = lambda _: data
    try:
        answer = verdict.judge("x")
    finally:
        verdict.read_file = original
    return answer.verdict, answer.text


def test_hash_covers_every_field() -> None:
    value = make.TRUE["cone"]
    sealed = seal(value)
    for key, new in (("toolkit", {"tests": "2"}), ("toolkit", {})):
        data = seal({**value, key: new}).decode().replace(hash_of(seal({**value, key: new})), hash_of(sealed))
        assert judge_bytes(data.encode()) == ("false", "sha256 is not that of the content")
