"""The equations of explicit prompts: against outputs from the definition, difference quotients, and exact prompts."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flint
import numpy as np
import pytest
from flint import arb, arb_mat, fmpq
from head_instances import (
    Prompt,
    head_output,
    in_range,
    logit_vector,
    met_by,
    pairs_of,
    random_model,
    random_tokens,
    single,
    total_output,
)
from hypothesis import example, given
from hypothesis import strategies as st
from layer_instances import kernel_answers

from constructions.data import Dataset, Example, Query
from constructions.numbers.balls import BallMatrix
from constructions.numbers.exponential import midpoint
from constructions.numbers.rational import RationalMatrix, column_vector, dot
from constructions.single_layer.criterion_search import CriterionSearch
from constructions.single_layer.decide_several import SeveralQueries, decide_several, refute_length
from constructions.single_layer.heads_prompt import HeadsEquations, find_heads_prompt
from constructions.single_layer.newton_prompt import (
    PRECISION,
    Equations,
    PromptEquations,
    ProvedPrompt,
    clusters,
    from_start,
    krawczyk,
    prompt_from_counts,
)
from constructions.single_layer.several_queries import System
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer
from verify.claims.several_heads import prompt_certificate
from verify.claims.several_queries import prompt_certificate as one_head_certificate
from verify.claims.several_queries import random_data, several_queries
from verify.instances import random_mlp

Values = Callable[[Prompt], list[arb]]
BITS = 320  # of the second evaluation: more than the 192 of the first


def counted(tokens: Sequence[Sequence[Any]], counts: Sequence[int]) -> Prompt:
    return [(arb(n).log(), token) for n, token in zip(counts, tokens, strict=True)]


def columns(P: RationalMatrix) -> list[list[fmpq]]:
    return [P.column(j) for j in range(P.shape[1])]


# --- what the equations say, from the definition -------------------------------------------------------------------


def several_heads_case(
    seed: int, d: int, s: int, h: int, n: int, counts: Sequence[int]
) -> tuple[Equations, Values, Transformer, Dataset]:
    """Output plus token minus preimage, for all queries; contexts of different lengths, an MLP that is undone."""
    rng = random.Random(f"equations/{seed}/{d}/{s}/{h}/{n}")
    mlp = random_mlp(rng, d, 2, contractive=True) if seed % 2 else FeedForward.none(d)
    model = random_model(rng, d, s, h, mlp)
    inputs = [random_tokens(rng, d, 1 + (seed + i) % 3) for i in range(n)]
    data = in_range(model, inputs, rng)
    pairs = pairs_of(model, data)
    choice = (0,) * len(pairs.queries)
    points = pairs.points(choice)
    assert all(model.layers[0].mlp(column_vector(z)) == e.targets for z, e in zip(points, data.examples, strict=True))

    def values(prompt: Prompt) -> list[arb]:
        found = []
        for X, z in zip(inputs, points, strict=True):
            given = total_output(model, X, X.shape[1] - 1, prompt)
            found += [x - arb(y) for x, y in zip(given, z, strict=True)]
        return found

    return HeadsEquations(pairs, choice, counts), values, model, data


def fixed_mass_data() -> tuple[Transformer, Dataset]:
    """Two logit vectors (scores of all contexts are zero, so that everything is rational), two queries with the first
    that fix its mass at 5, one with the second."""
    one = RationalMatrix.identity(3)
    W_q = RationalMatrix.of([[0, 0, 2], [0, 0, -1], [0, 0, 0]])
    model = Transformer((Layer(Attention((Head(W_q, one, one, one, column_vector([1, 1, 0])),)), FeedForward.none(3)),))
    examples = []
    mean = [fmpq(1), fmpq(1, 2), fmpq(3)]
    for t, others in ((0, []), (0, [[0, 0, 4]]), (1, [[0, 0, 2]])):
        context = [*others, [0, 0, t]]
        sums = [sum((fmpq(z[c]) for z in context), fmpq(0)) for c in range(3)]
        wanted = [(x + 5 * y) / (len(context) + 5) for x, y in zip(sums, mean, strict=True)]
        target = column_vector([a + x for a, x in zip(wanted, context[-1], strict=True)])
        examples.append(Example(RationalMatrix.of_columns(context), target))
    return model, Dataset(tuple(examples))


def several_queries_case(
    model: Transformer, data: Dataset, counts: Sequence[int]
) -> tuple[PromptEquations, Values, SeveralQueries]:
    """(S + s)(output − a) for each group, and s − Γ/δ where it fixes its mass; divided by e^ρ."""
    grouped = several_queries(model, data)
    system = grouped.system([0] * len(grouped.queries), None)
    assert isinstance(system, System)
    equations = PromptEquations(system, counts)
    head = model.layers[0].attention.heads[0]

    def mass(query: Query, prompt: Prompt) -> arb:
        q = logit_vector(head, query.token)
        scores = [log + sum((arb(x) * arb(y) for x, y in zip(q, z, strict=True)), arb(0)) for log, z in prompt]
        return sum((x.exp() for x in scores), arb(0))

    def values(prompt: Prompt) -> list[arb]:
        found: list[arb] = []
        vectors = []
        for query in grouped.queries:
            q = logit_vector(head, query.token)
            if q in vectors:
                continue
            vectors.append(q)
            context = single(query.context)
            total = mass(query, [*prompt, *context])
            given = head_output(head, query.token, [*prompt, *context])
            scale = arb(-equations.scale[len(vectors) - 1]).exp()
            wanted = [arb(y - x) for x, y in zip(query.token, query.target, strict=True)]
            found += [total * (x - a) * scale for x, a in zip(given, wanted, strict=True)]
            if system.groups[len(vectors) - 1].equation is not None:
                found.append((mass(query, prompt) - 5) * scale)
        return found

    return equations, values, grouped


def case(kind: str, seed: int, counts: Sequence[int]) -> tuple[Equations, Values]:
    if kind == "several heads":
        return several_heads_case(seed, 2 + seed % 2, 1 + seed % 2, 1 + seed % 3, 1 + seed // 2 % 2, counts)[:2]
    if kind == "fixed mass":
        return several_queries_case(*fixed_mass_data(), counts)[:2]
    model, data = random_data(random.Random(f"one head/{seed}"), 2 + seed % 2, 2)
    return several_queries_case(model, data, counts)[:2]


KINDS = st.sampled_from(["several heads", "several heads", "one head", "fixed mass"])
COUNTS = st.lists(st.sampled_from([1, 1, 2, 7, 5000]), min_size=1, max_size=3)


def random_prompt(seed: int, d: int, m: int, size: int = 3) -> RationalMatrix:
    rng = random.Random(f"prompt/{seed}")
    return RationalMatrix.of([[fmpq(rng.randint(-9 * size, 9 * size), 9) for _ in range(m)] for _ in range(d)])


@given(KINDS, st.integers(0, 40), COUNTS)
@example("fixed mass", 0, [5000, 1])
@example("several heads", 5, [1])
def test_floats_and_balls_are_what_the_prompt_gives(kind: str, seed: int, counts: list[int]) -> None:
    equations, values = case(kind, seed, counts)
    P = random_prompt(seed, equations.d, len(counts))
    floats = equations.residual(np.array([float(x) for x in P.mat.entries()]))
    assert len(floats) == equations.count
    with flint.ctx.workprec(PRECISION):
        enclosed, nothing = equations.enclosures(arb_mat(P.mat), ())
    assert nothing.ncols() == 0
    with flint.ctx.workprec(BITS):
        exact = values(counted(columns(P), counts))
        size = 1 + max(float(abs(x).mid()) for x in exact)
        for x, y, z in zip(exact, enclosed, floats, strict=True):
            assert y.overlaps(x)
            assert float(y.rad()) < 1e-30 * size
            assert abs(float(x.mid()) - z) < 1e-9 * size


@given(KINDS, st.integers(0, 40), COUNTS)
@example("fixed mass", 1, [7, 5000, 1])
def test_derivatives_are_difference_quotients(kind: str, seed: int, counts: list[int]) -> None:
    """Of the second evaluation, at 2^-90; by the mean value theorem the enclosure over a box that contains the segment
    contains the quotient. The floats are in it too, up to rounding."""
    equations, values = case(kind, seed, counts)
    d, m = equations.d, len(counts)
    P = random_prompt(seed, d, m)
    step = fmpq(1, 2**90)
    box = arb_mat(d, m, [arb(x, step) for x in P.mat.entries()])
    unknowns = [(r, t) for r in range(d) for t in range(m)]
    with flint.ctx.workprec(PRECISION):
        _, derivatives = equations.enclosures(box, unknowns)
    jacobian = equations.jacobian(np.array([float(x) for x in P.mat.entries()]))
    assert jacobian.shape == (equations.count, d * m)
    with flint.ctx.workprec(BITS):
        base = values(counted(columns(P), counts))
        size = 1 + float(np.abs(jacobian).max())
        for u, (r, t) in enumerate(unknowns):
            moved = columns(P)
            moved[t][r] += step
            there = values(counted(moved, counts))
            for i, (x, y) in enumerate(zip(base, there, strict=True)):
                quotient = (y - x) / arb(step)
                assert derivatives[i, u].overlaps(quotient)
                assert float(derivatives[i, u].rad()) < 1e-12 * size
                assert abs(float(quotient.mid()) - jacobian[i, u]) < 1e-8 * size


@given(KINDS, st.integers(0, 40), COUNTS, st.randoms(use_true_random=False))
def test_boxes_contain_all_their_prompts(kind: str, seed: int, counts: list[int], rng: random.Random) -> None:
    equations, values = case(kind, seed, counts)
    d, m = equations.d, len(counts)
    P = random_prompt(seed, d, m)
    radius = fmpq(1, rng.choice([8, 100, 10**6]))
    with flint.ctx.workprec(PRECISION):
        enclosed, _ = equations.enclosures(arb_mat(d, m, [arb(x, radius) for x in P.mat.entries()]), ())
    with flint.ctx.workprec(BITS):
        for _ in range(3):
            inside = [[x + radius * fmpq(rng.randint(-8, 8), 8) for x in token] for token in columns(P)]
            assert all(y.overlaps(x) for x, y in zip(values(counted(inside, counts)), enclosed, strict=True))


@pytest.mark.parametrize(("seed", "h", "s", "causal"), [(1, 1, 2, False), (2, 2, 1, True), (3, 3, 1, False)])
def test_the_model_itself_gives_the_residual(seed: int, h: int, s: int, causal: bool) -> None:
    """The layer run in balls on [P, X], tokens of the prompt written as often as they are counted; targets of all
    columns of X, with a mask as well."""
    rng = random.Random(f"itself/{seed}")
    d = 3
    plain = random_model(rng, d, s, h).layers[0]
    model = Transformer((Layer(Attention(plain.attention.heads, causal=causal), plain.mlp),))
    X = random_tokens(rng, d, 3)
    data = Dataset((Example(X, random_tokens(rng, d, 3)),))
    pairs = pairs_of(model, data)
    counts = (2, 1, 3)
    equations = HeadsEquations(pairs, (0, 0, 0), counts)
    P = random_prompt(seed, d, 3)
    repeated = RationalMatrix.of_columns([P.column(t) for t, n in enumerate(counts) for _ in range(n)])
    with flint.ctx.workprec(PRECISION):
        enclosed, _ = equations.enclosures(arb_mat(P.mat), ())
        output = model(BallMatrix.embed(repeated.hstack(X)))
        for i in range(3):
            for c in range(d):
                difference = output[c, 6 + i] - arb(data.examples[0].targets[c, i])
                assert difference.overlaps(enclosed[i * d + c])


# --- proved prompts --------------------------------------------------------------------------------------------------


def solved(values: Values, proved: ProvedPrompt) -> tuple[float, float]:
    """Newton's method with the proved prompt's own preconditioner, on the second evaluation: how far the solution is
    from the centre, as a share of the radius, and the residual that is left."""
    Y = proved.preconditioner.rows()
    tokens = [[arb(x) for x in column] for column in columns(proved.tokens)]
    with flint.ctx.workprec(BITS):
        for _ in range(40):
            F = [midpoint(x) for x in values(counted(tokens, proved.counts))]
            for (r, t), row in zip(proved.unknowns, Y, strict=True):
                tokens[t][r] = arb(midpoint(tokens[t][r] - arb(dot(row, F))))
        gaps = [abs(tokens[t][r] - arb(proved.tokens[r, t])) for t in range(len(tokens)) for r in range(len(tokens[0]))]
        return max(float(gap / arb(proved.radius)) for gap in gaps), max(abs(float(x)) for x in F)


@pytest.mark.parametrize(
    ("seed", "d", "s", "h", "n"), [(0, 2, 1, 2, 1), (5, 3, 1, 3, 2), (2, 4, 2, 2, 2), (3, 3, 2, 2, 3), (4, 2, 2, 3, 1)]
)
def test_proved_prompts_are_near_exact_ones(tmp_path: Path, seed: int, d: int, s: int, h: int, n: int) -> None:
    """Targets of a random prompt: the search finds one; an exact solution of the second evaluation lies in its box; the
    kernel accepts, and rejects with a token, the radius or a count changed."""
    rng = random.Random(f"proved/{seed}")
    model = random_model(rng, d, s, h)
    inputs = [random_tokens(rng, d, 2) for _ in range(n)]
    data = met_by(model, inputs, random_tokens(rng, d, n + 1))
    pairs = pairs_of(model, data)
    choice = (0,) * n
    proved = find_heads_prompt(pairs, choice, longest=8)
    assert proved is not None

    def values(prompt: Prompt) -> list[arb]:
        found = []
        for X, z in zip(inputs, pairs.points(choice), strict=True):
            found += [x - arb(y) for x, y in zip(total_output(model, X, 1, prompt), z, strict=True)]
        return found

    share, rest = solved(values, proved)
    assert share <= 1
    assert rest < 1e-60
    equations = HeadsEquations(pairs, choice, proved.counts)
    with flint.ctx.workprec(PRECISION):
        good = (proved.tokens, proved.radius, proved.unknowns, proved.preconditioner)
        assert krawczyk(equations, *good)
        P, r, unknowns, Y = good
        away = [list(row) for row in P.rows()]
        away[unknowns[0][0]][unknowns[0][1]] += 3 * r
        assert not krawczyk(equations, RationalMatrix.of(away), r, unknowns, Y)
        assert not krawczyk(equations, P, fmpq(1, 2**140), unknowns, Y)
        assert not krawczyk(equations, P, r, unknowns, Y.scaled(-1))
        assert not krawczyk(equations, P, fmpq(8), unknowns, Y)
    changes: list[dict[str, Any]] = [{}, {"tokens": RationalMatrix.of(away)}, {"radius": fmpq(1, 2**140)}]
    changes += [{"radius": fmpq(8)}, {"counts": (2, *proved.counts[1:])}, {"preconditioner": Y.scaled(-1)}]
    made = [
        prompt_certificate(model, pairs, choice, ProvedPrompt(**{**proved.__dict__, **change})) for change in changes
    ]
    assert [answer.verdict for answer in kernel_answers(tmp_path, made)] == ["true"] + ["false"] * (len(changes) - 1)


# --- tokens that are repeated ----------------------------------------------------------------------------------------


def only_long() -> tuple[Transformer, Dataset]:
    """Two queries for which all short prompts are excluded."""
    rng = random.Random("campaign/0/21")
    d = rng.randint(2, 6)
    return random_data(rng, d, rng.randint(2, min(4, d)))


def test_repeated_tokens_where_only_long_prompts_exist(tmp_path: Path) -> None:
    """No prompt of 16 tokens; proved ones of two tokens taken hundreds of times. The shortest of all starts is
    returned, and no shorter or longer one than allowed."""
    model, data = only_long()
    grouped = several_queries(model, data)
    assert refute_length(grouped, 16) is not None
    decision = decide_several(grouped)
    assert decision.possible is not None
    system, point = decision.possible
    sigma = list(CriterionSearch(system).short_points(point))[-1]
    means = [mean for mean, _ in clusters(system, sigma)]
    tried: list[tuple[int, ...]] = []

    def make(counts: Sequence[int]) -> Equations:
        tried.append(tuple(counts))
        return PromptEquations(system, counts, sigma)

    proved = prompt_from_counts(make, means, shortest=17, longest=1 << 17, starts=12, seed=2)
    assert proved is not None
    assert 17 <= proved.length == sum(proved.counts) <= 1 << 17
    assert len(proved.counts) < 8 < proved.length
    lengths = [sum(counts) for counts in tried]
    assert min(lengths) >= 17
    assert proved.counts in tried
    assert all(n < proved.length for n in lengths[tried.index(proved.counts) + 1 :])
    assert prompt_from_counts(make, means, shortest=17, longest=20, starts=5, seed=2) is None

    equations, values, _ = several_queries_case(model, data, proved.counts)
    shifted = ProvedPrompt(**{**proved.__dict__, "references": tuple(equations.scale)})
    share, rest = solved(_rescaled(values, equations, proved), shifted)
    assert share <= 1
    assert rest < 1e-50
    fewer = (proved.counts[0], proved.counts[1] - 1, *proved.counts[2:])
    made = [
        one_head_certificate(model, grouped, system, each)
        for each in (proved, ProvedPrompt(**{**proved.__dict__, "counts": fewer}))
    ]
    assert [answer.verdict for answer in kernel_answers(tmp_path, made)] == ["true", "false"]


def _rescaled(values: Values, equations: PromptEquations, proved: ProvedPrompt) -> Values:
    """The preconditioner belongs to the equations divided by the references of the prompt."""
    factors = [new - old for new, old in zip(equations.scale, proved.references, strict=True)]
    d = equations.d
    return lambda prompt: [x * arb(factors[i // d]).exp() for i, x in enumerate(values(prompt))]


def test_counts_are_the_same_as_writing_tokens_often() -> None:
    """A prompt with counts and the same tokens one by one have the same equations, and derivatives that add up."""
    for make in (_heads_of, _one_head_of):
        few, many = make((3, 1, 2)), make((1,) * 6)
        P = random_prompt(5, few.d, 3)
        long = RationalMatrix.of_columns([P.column(t) for t, n in enumerate((3, 1, 2)) for _ in range(n)])
        flat, flat_long = (np.array([float(x) for x in M.mat.entries()]) for M in (P, long))
        assert np.allclose(few.residual(flat), many.residual(flat_long), rtol=1e-12, atol=1e-12)
        separate = many.jacobian(flat_long).reshape(-1, few.d, 6)
        added = np.stack([separate[..., :3].sum(-1), separate[..., 3], separate[..., 4:].sum(-1)], axis=-1)
        assert np.allclose(few.jacobian(flat).reshape(-1, few.d, 3), added, rtol=1e-10, atol=1e-10)


def _heads_of(counts: Sequence[int]) -> Equations:
    return several_heads_case(2, 2, 1, 2, 2, counts)[0]


def _one_head_of(counts: Sequence[int]) -> Equations:
    return several_queries_case(*fixed_mass_data(), counts)[0]


@dataclass
class NoZero:
    """e^{x²} − 1 + 10^-8: small near 0, but Newton's method runs away from there, beyond what balls can hold."""

    d: int = 1
    counts: tuple[int, ...] = (1,)
    count: int = 1
    scale: list[fmpq] = field(default_factory=lambda: [fmpq(0)])
    size: float = 1.0

    def residual(self, flat: Any) -> Any:
        return np.expm1(flat**2) + 1e-8

    def jacobian(self, flat: Any) -> Any:
        return (2 * flat * np.exp(flat**2)).reshape(1, 1)

    def enclosures(self, P: arb_mat, unknowns: Sequence[tuple[int, int]]) -> tuple[list[arb], arb_mat]:
        x = P[0, 0]
        power = (x * x).exp()
        return [power - 1 + arb(fmpq(1, 10**8))], arb_mat(1, len(unknowns), [2 * x * power for _ in unknowns])


@pytest.mark.parametrize("start", [1e-9, -1e-7, 1e-5])
def test_newton_that_runs_away_is_given_up(start: float) -> None:
    assert from_start(NoZero(), np.array([start])) is None


def test_no_search_where_the_heads_do_not_span_the_width() -> None:
    """The derivatives of a query's equations are then all orthogonal to one vector, at every prompt."""
    rng = random.Random("span")
    model = random_model(rng, 3, 1, 2)
    data = met_by(model, [random_tokens(rng, 3, 2)], random_tokens(rng, 3, 4))
    pairs = pairs_of(model, data)
    assert find_heads_prompt(pairs, (0,)) is None
    stacked = RationalMatrix.of([row for V in pairs.pairs.V for row in V.T.rows()])
    (normal,) = stacked.nullspace()
    equations = HeadsEquations(pairs, (0,), (1,) * 4)
    jacobian = equations.jacobian(np.array([float(x) for x in random_prompt(1, 3, 4).mat.entries()]))
    assert np.allclose(np.array([float(x) for x in normal]) @ jacobian, 0, atol=1e-12)


def test_a_start_of_too_few_entries_is_refused() -> None:
    equations = _heads_of((1,))
    assert equations.count > equations.d
    assert from_start(equations, np.zeros(equations.d)) is None
