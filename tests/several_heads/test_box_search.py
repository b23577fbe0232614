"""Refutations by boxes with free forms and couplings: their combinations, evaluated at points and by numpy."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from math import exp, log

import flint
import numpy as np
import pytest
from flint import arb, fmpq
from head_instances import (
    PRECISION,
    crossed_layer,
    in_range,
    met_by,
    pairs_of,
    random_model,
    random_tokens,
    single,
    weighed,
)
from hypothesis import given
from hypothesis import strategies as st

from constructions.data import Dataset, Example
from constructions.numbers.exponential import ExpSum
from constructions.numbers.rational import RationalMatrix, column_vector, dot
from constructions.single_layer.heads_criterion import HeadsSystem, refute_heads
from constructions.single_layer.mass_boxes import BoxSearch, BoxTree, Cut, Form, Interval, Refutation
from constructions.single_layer.several_heads import SeveralHeads
from constructions.transformer import Attention, Layer, Transformer
from constructions.verdict import Undecided

Box = tuple[tuple[fmpq | None, fmpq | None], ...]
NONE = ExpSum({})


def leaves(tree: BoxTree, box: Box) -> Iterator[tuple[Refutation, Box]]:
    """The leaves with their boxes; halves are closed."""
    if isinstance(tree, Refutation):
        yield tree, box
        return
    assert isinstance(tree, Cut)
    low, high = box[tree.group]
    for part, half in (
        (tree.below, (low, tree.at if high is None else min(high, tree.at))),
        (tree.above, (tree.at if low is None else max(low, tree.at), high)),
    ):
        yield from leaves(part, (*box[: tree.group], half, *box[tree.group + 1 :]))


def points(box: Box, rng: random.Random, count: int) -> Iterator[list[fmpq]]:
    """Random points of a box: its corners, near them, inside, and far out along infinite ends."""
    for _ in range(count):
        place = []
        for low, high in box:
            far = fmpq(rng.choice([0, 1, 10, 100, 10**4]) * rng.randint(1, 99), rng.choice([1, 97]))
            if low is None and high is None:
                place.append(far * rng.choice([-1, 1]))
            elif high is None:
                assert low is not None
                place.append(low + far)
            elif low is None:
                place.append(high - min(far, 50))
            else:
                place.append(low + (high - low) * fmpq(rng.choice([0, 1, 50, 99, 100]), 100))
        yield place


def combination(forms: Sequence[Form], multipliers: Sequence[fmpq], sigma: Sequence[fmpq], log_length: arb) -> arb:
    """Σ m (constant + Σ slope σ + decay e^{−σ} + log N) at a point."""
    total = arb(0)
    for m, form in zip(multipliers, forms, strict=True):
        if m != 0:
            value = arb(form.constant + sum((s * x for s, x in zip(form.slopes, sigma, strict=True)), fmpq(0)))
            for q, c in form.decay.terms.items():
                value += arb(c) * arb(q - sigma[form.group]).exp()
            total += arb(m) * (value + form.log_length * log_length)
    return total


def demand_refuted(
    tree: object,
    forms: Sequence[Form],
    groups: int,
    length: int | None,
    rng: random.Random,
    brackets: Box | None = None,
) -> int:
    """Multipliers of inequalities are not negative, couplings cancel, and the combination is below zero on the box (not
    only at its finite points: also in the limit, unless it is all of the axis). The number of leaves."""
    assert isinstance(tree, Cut | Refutation)
    count = 0
    for leaf, box in leaves(tree, brackets or ((None, None),) * groups):
        count += 1
        assert len(leaf.multipliers) == len(forms)
        assert all(m >= 0 for m, form in zip(leaf.multipliers, forms, strict=True) if not form.free)
        for column in zip(*(form.coupling for form in forms), strict=True):
            assert sum((m * x for m, x in zip(leaf.multipliers, column, strict=True)), fmpq(0)) == 0
        with flint.ctx.workprec(PRECISION):
            log_length = arb(0) if length is None else arb(length).log()
            for sigma in points(box, rng, 12):
                value = combination(forms, leaf.multipliers, sigma, log_length)
                assert value < 0 or (value.contains(0) and max(sigma) > 100), (box, sigma)
    return count


# --- forms by hand ---------------------------------------------------------------------------------------------------


def inequality(group: int, constant: object, slopes: tuple[int, ...], decay: ExpSum = NONE, *c: object) -> Form:
    return Form("entropy", group, None, fmpq(constant), slopes, decay, coupling=tuple(map(fmpq, c)))  # type: ignore[arg-type]


def equation(group: int, constant: object, groups: int, decay: ExpSum, *c: object) -> Form:
    return Form("value", group, 0, fmpq(constant), (0,) * groups, decay, free=True, coupling=tuple(map(fmpq, c)))  # type: ignore[arg-type]


E = ExpSum.exp


def search(forms: Sequence[Form], groups: int, length: int | None = None, nodes: int = 200) -> object:
    return BoxSearch(forms, [fmpq(0)] * groups, [None] * groups, length, max_nodes=nodes).run()


def test_a_free_form_counts_with_either_sign() -> None:
    """σ ≥ u and ±(4 + 5 e^{−σ} − u) = 0 have a solution, but none with σ ≤ 3."""
    for sign in (1, -1):
        solvable = [
            inequality(0, 0, (1,), NONE, -1),
            equation(0, 4 * sign, 1, ExpSum.of(5) * E(0) * sign, -sign),
        ]
        with pytest.raises(Undecided):
            search(solvable, 1, nodes=60)
        forms = [*solvable, inequality(0, 3, (-1,), NONE, 0)]
        assert demand_refuted(search(forms, 1), forms, 1, None, random.Random(sign)) >= 1


def test_couplings_are_kept() -> None:
    """Without the coupling −u + 1 ≥ 0 and u − 2 ≥ 0 would be refuted for different u."""
    forms = [inequality(0, 1, (0,), NONE, -1, 0), inequality(0, -2, (0,), NONE, 0, 1)]
    with pytest.raises(Undecided):
        search(forms, 1, nodes=40)
    same = [inequality(0, 1, (0,), NONE, -1), inequality(0, -2, (0,), NONE, 1)]
    assert demand_refuted(search(same, 1), same, 1, None, random.Random(0)) == 1


def test_a_decay_alone_refutes_with_a_constant_of_zero() -> None:
    """e^{−σ} (1 − e) = 0: no finite mass, though the bound is 0 at infinity."""
    forms = [equation(0, 0, 1, ExpSum.of(1) - E(1), 0)]
    found = search(forms, 1)
    assert isinstance(found, Refutation)
    assert demand_refuted(found, forms, 1, None, random.Random(1)) == 1
    with pytest.raises(Undecided):
        search([equation(0, 0, 1, NONE, 0)], 1, nodes=40)


def test_lengths_enter_by_their_logarithm() -> None:
    """log N − σ ≥ 0 and σ − 2 ≥ 0: no N below e², and N = 8 has a solution."""
    for length in (1, 7, 8):
        forms = [
            Form("length", 0, None, fmpq(0), (-1,), NONE, 1),
            Form("entropy", 0, None, fmpq(-2), (1,), NONE),
        ]
        if length > exp(2):
            with pytest.raises(Undecided):
                search(forms, 1, length, nodes=60)
        else:
            assert demand_refuted(search(forms, 1, length), forms, 1, length, random.Random(length)) >= 1


@given(st.integers(0, 10**6))
def test_random_systems_with_a_solution_are_not_refuted(seed: int) -> None:
    """Forms made to hold at one (σ, u): neither a tree nor a refutation of everything."""
    rng = random.Random(f"solvable/{seed}")
    groups, width = rng.randint(1, 2), rng.randint(0, 2)
    sigma = [fmpq(rng.randint(-6, 6), 2) for _ in range(groups)]
    u = [fmpq(rng.randint(-6, 6), 3) for _ in range(width)]
    forms = []
    for _ in range(rng.randint(1, 5)):
        free = rng.random() < 0.5
        g = rng.randrange(groups)
        slopes = tuple(0 if free else rng.randint(-1, 1) for _ in range(groups))
        coefficient = rng.randint(-3, 3)
        decay = E(sigma[g]) * coefficient  # e^{−σ_g} times it is an integer at the solution
        coupling = tuple(fmpq(rng.randint(-2, 2)) for _ in range(width))
        there = sum((s * x for s, x in zip(slopes, sigma, strict=True)), fmpq(coefficient)) + dot(coupling, u)
        slack = fmpq(0) if free else fmpq(rng.randint(0, 2), 4)
        forms.append(Form("value" if free else "entropy", g, 0, slack - there, slopes, decay, 0, free, coupling))
    try:
        found = BoxSearch(forms, [fmpq(0)] * groups, [None] * groups, None, max_nodes=30).run()
    except Undecided:
        return
    raise AssertionError(found)


SEEN: Counter[str] = Counter()


@pytest.mark.parametrize("seed", range(24))
def test_random_refutations_hold(seed: int) -> None:
    """Random forms with couplings, or brackets: what is refuted is refuted at points of every box, and no point of a
    grid satisfies all (the coupled u by elimination: one inequality and one equation for each)."""
    rng = random.Random(f"random/{seed}")
    groups = 1 + seed % 2
    forms = []
    for g in range(groups):
        slopes = tuple(int(g == k) for k in range(groups))
        a, b = fmpq(rng.randint(-4, 4)), rng.randint(-4, 4)
        own = tuple(fmpq(-int(g == k)) for k in range(groups))
        forms.append(Form("entropy", g, None, fmpq(0), slopes, NONE, coupling=own))  # σ − u ≥ 0
        forms.append(Form("value", g, g, a, (0,) * groups, E(fmpq(rng.randint(-3, 3), 2)) * b, free=True, coupling=own))
        if groups == 2:
            slopes = tuple(1 if k != g else -1 for k in range(2))
            other = tuple(fmpq(rng.randint(1, 2)) * int(g == k) for k in range(2))
            forms.append(Form("divergence", g, 1 - g, fmpq(-1), slopes, NONE, coupling=other))  # σ' − σ + c u − 1 ≥ 0
        else:
            forms.append(inequality(0, rng.randint(-2, 3), (-1,), NONE, rng.randint(0, 1)))
    try:
        tree = search(forms, groups, nodes=150)
    except Undecided:
        SEEN["undecided"] += 1
        return
    SEEN["refuted"] += 1
    SEEN["leaves"] += demand_refuted(tree, forms, groups, None, rng)
    axis = np.linspace(-15, 30, 451)
    grid = np.stack(np.meshgrid(*[axis] * groups, indexing="ij"), axis=-1)
    u = []
    for g in range(groups):
        value = next(form for form in forms if form.free and form.group == g)
        decay = sum(float(c) * exp(float(q)) for q, c in value.decay.terms.items())
        u.append(float(value.constant) + decay * np.exp(-grid[..., g]))  # the equation: constant + decay e^{−σ} = u
    least = []
    for form in forms:
        if not form.free:
            line = float(form.constant) + sum(s * grid[..., k] for k, s in enumerate(form.slopes))
            least.append(line + sum(float(x) * u[k] for k, x in enumerate(form.coupling)))
    assert np.min(least, axis=0).max() < 1e-9


def test_both_outcomes_occur() -> None:
    assert not SEEN or min(SEEN["refuted"], SEEN["undecided"]) >= 4, SEEN


def test_brackets_bound_the_search() -> None:
    """σ − 5 ≥ 0 holds somewhere, but not on a bracket below 5."""
    forms = [Form("entropy", 0, None, fmpq(-5), (1,), NONE)]
    tree = BoxSearch(forms, [fmpq(0)], [(fmpq(1), fmpq(4))], None, max_nodes=50).run()
    assert demand_refuted(tree, forms, 1, None, random.Random(2), ((fmpq(1), fmpq(4)),)) >= 1
    with pytest.raises(Undecided):
        BoxSearch(forms, [fmpq(0)], [(fmpq(1), fmpq(6))], None, max_nodes=50).run()


def test_the_probe_ends_the_search() -> None:
    """Its answer is the answer, and it is asked about boxes inside of which nothing was refuted."""
    asked: list[tuple[Interval, ...]] = []

    def probe(box: tuple[Interval, ...]) -> object:
        asked.append(box)
        return "found" if len(asked) == 3 else None

    forms = [Form("entropy", 0, None, fmpq(-5), (1,), NONE)]
    assert BoxSearch(forms, [fmpq(0)], [None], None, probe, max_nodes=400).run() == "found"
    assert len(asked) == 3
    assert all(box[0].high is None or box[0].high >= 5 for box in asked)


@given(
    st.one_of(st.none(), st.integers(-9, 9)), st.one_of(st.none(), st.integers(0, 9)), st.fractions(-20, 20)
)  # a cut anywhere
def test_halves_of_an_interval(low: int | None, width: int | None, at: object) -> None:
    start = None if low is None else fmpq(low)
    end = None if width is None else fmpq(width if low is None else low + width)
    cut = fmpq(at.numerator, at.denominator)  # type: ignore[attr-defined]
    below, above = Interval(start, end).cut(cut)
    assert below.low == start
    assert above.high == end
    assert below.high is not None
    assert above.low is not None
    assert below.high == (cut if end is None else min(cut, end))
    assert above.low == (cut if start is None else max(cut, start))


def test_masses_towards_zero_are_given_up() -> None:
    """Nothing excludes them here; e^{−σ} would soon have more digits than there is memory."""
    forms = [Form("entropy", 0, None, fmpq(-5), (0,), E(1))]
    with pytest.raises(Undecided, match="the smallest ones"):
        search(forms, 1)
    rng = random.Random("independent")
    model = random_model(rng, 4, 4, 2)
    pairs = pairs_of(model, in_range(model, [random_tokens(rng, 4, 2) for _ in range(2)], rng))
    with pytest.raises(Undecided, match="the smallest ones"):
        refute_heads(pairs, 3, max_nodes=4000)


# --- the systems of several heads ------------------------------------------------------------------------------------


def forms_at(pairs: SeveralHeads, system: HeadsSystem, P: RationalMatrix) -> list[arb]:
    """The forms at the masses of a prompt, with −coupling·(means) moved to the other side: entropies, divergences and
    what is left of log N for inequalities, zero for equations."""
    groups = pairs.pairs.groups
    vectors = [pairs.pairs.q[members[0]] for members in groups]
    laws = [weighed(q, single(P)) for q in vectors]
    means = [[sum((w * arb(P[c, t]) for t, w in enumerate(law)), arb(0)) for c in range(P.shape[0])] for law in laws]
    masses = [sum((arb(dot(q, P.column(t))).exp() for t in range(P.shape[1])), arb(0)).log() for q in vectors]
    flat = [x for mean in means for x in mean]
    log_length = arb(0) if system.length is None else arb(system.length).log()
    found = []
    for form in system.forms:
        value = arb(form.constant) + form.log_length * log_length
        value += sum((s * x for s, x in zip(form.slopes, masses, strict=True)), arb(0))
        value += form.decay.enclosure() * (-masses[form.group]).exp()
        found.append(value + sum((arb(c) * x for c, x in zip(form.coupling, flat, strict=True)), arb(0)))
    expected = []
    for form in system.forms:
        law = laws[form.group]
        if form.kind == "value":
            expected.append(arb(0))
            continue
        entropy = -sum((w * w.log() for w in law), arb(0))
        if form.kind == "entropy":
            expected.append(entropy)
        elif form.kind == "length":
            expected.append(log_length - entropy)
        else:
            assert form.other is not None
            expected.append(sum((w * (w / v).log() for w, v in zip(law, laws[form.other], strict=True)), arb(0)))
    assert all(abs(float(x - y)) < 1e-9 for x, y in zip(found, expected, strict=True))
    return found


@pytest.mark.parametrize(
    ("seed", "d", "s", "h", "n", "length"),
    [(1, 4, 2, 2, 2, None), (2, 3, 1, 2, 2, 7), (3, 2, 2, 1, 2, 5), (4, 3, 2, 2, 2, None), (5, 2, 1, 1, 3, 4)],
)
def test_forms_of_a_prompt_are_its_entropies_and_divergences(
    seed: int, d: int, s: int, h: int, n: int, length: int | None
) -> None:
    """At the masses and means of a prompt that meets the targets up to 2^-150; so equations vanish and nothing can be
    refuted, also where heads overlap."""
    rng = random.Random(f"forms/{seed}")
    model = random_model(rng, d, s, h)
    P = random_tokens(rng, d, 4)
    shared = random_tokens(rng, d, 1)
    inputs = [random_tokens(rng, d, 2).hstack(shared if seed % 2 else random_tokens(rng, d, 1)) for _ in range(n)]
    pairs = pairs_of(model, met_by(model, inputs, P, bits=150))
    system = HeadsSystem.of(pairs, (0,) * n, length)
    with flint.ctx.workprec(PRECISION):
        forms_at(pairs, system, P)
    assert {form.kind for form in system.forms} >= {"entropy"} | ({"value"} if h * s <= d else set())


@pytest.mark.parametrize("seed", range(4))
def test_refutations_of_data_hold_at_points(seed: int) -> None:
    """The crossed layer asked for more than it can give, with any length, and far prompts with at most a few tokens."""
    rng = random.Random(f"crossed/{seed}")
    layer, tokens = crossed_layer()
    examples = []
    for i, sign in ((0, -1), (1, 1)):
        x = tokens.column(i)
        wanted = [fmpq(sign * rng.randint(1, 4), rng.randint(1, 3)) for _ in range(2)]
        context = random_tokens(rng, 2, 1).hstack(column_vector(x))
        examples.append(Example(context, column_vector([a + b for a, b in zip(x, wanted, strict=True)])))
    model = Transformer((Layer(Attention(layer.attention.heads), layer.mlp),))
    pairs = pairs_of(model, Dataset(tuple(examples)))
    for length in (None, 1 + seed):
        try:
            found = refute_heads(pairs, length)
        except Undecided:
            SEEN[f"data left open {length}"] += 1
            continue
        for argument in found.arguments:
            assert isinstance(argument, tuple)
            system, tree = argument
            groups = len(pairs.pairs.groups)
            SEEN["leaves of data"] += demand_refuted(tree, system.forms, groups, length, rng)
            _no_grid_point(system, groups, log(length) if length else 0.0, rng)


def _no_grid_point(system: HeadsSystem, groups: int, log_length: float, rng: random.Random) -> None:
    """Random masses, and random means among those that solve all equations: some inequality fails."""
    d = system.data.pairs.width
    free = [form for form in system.forms if form.free]
    rows = np.array([[float(x) for x in form.coupling] for form in free])
    blind = np.linalg.svd(rows)[2][np.linalg.matrix_rank(rows) :]
    for _ in range(300):
        sigma = np.array([rng.uniform(-3, 12) for _ in range(groups)])
        decays = [sum(float(c) * exp(float(e) - sigma[x.group]) for e, c in x.decay.terms.items()) for x in free]
        right = np.array([-float(form.constant) - decay for form, decay in zip(free, decays, strict=True)])
        means = np.linalg.lstsq(rows, right, rcond=None)[0]
        means = means + np.array([rng.gauss(0, 3) for _ in blind]) @ blind
        assert len(means) == groups * d
        if np.abs(rows @ means - right).max() > 1e-9:
            continue  # no means at all
        values = []
        for form in system.forms:
            if not form.free:
                value = sum(s * x for s, x in zip(form.slopes, sigma, strict=True)) + form.log_length * log_length
                values.append(value + float(np.dot([float(x) for x in form.coupling], means)))
        assert min(values) < 1e-9
