"""Deciding data with several logit vectors: every combination of preimages gets a point, a tree, or a group that
cannot be met.

Source: THEORY section 3.2 (ours).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import flint
from flint import arb, fmpq

from constructions.data import Query
from constructions.numbers.exponential import midpoint
from constructions.numbers.rational import RationalMatrix
from constructions.single_layer.criterion_search import CriterionSearch, CriterionTree, FeasiblePoint
from constructions.single_layer.loss_problem import MAX_COMBINATIONS, LossProblem
from constructions.single_layer.newton_prompt import (
    PromptEquations,
    ProvedPrompt,
    clusters,
    find_prompt,
    prompt_from_clusters,
    prompt_from_counts,
)
from constructions.single_layer.one_query import Impossible
from constructions.single_layer.preimage import Preimage
from constructions.single_layer.several_queries import Group, System, group_of
from constructions.verdict import Undecided

MAX_TOKENS = 1 << 17


@dataclass(frozen=True)
class GroupImpossible:
    """A group that cannot be met by itself; ``places`` are its equations with queries numbered in the whole dataset."""

    argument: str
    places: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Refuted:
    """A combination whose criterion has no solution: its system (for the brackets and equations) and the tree."""

    system: System
    tree: CriterionTree


@dataclass(frozen=True)
class SeveralQueries:
    """A dataset of one layer with one head and invertible V, its queries grouped by logit vector.

    ``members[g]`` are the indices of the queries of group g; groups are in order of first appearance.
    """

    queries: tuple[Query, ...]
    problems: tuple[LossProblem, ...]
    members: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, queries: Sequence[Query], problems: Sequence[LossProblem]) -> SeveralQueries:
        """Raises Undecided for a singular V or too many combinations."""
        V = problems[0].V
        if not V.is_invertible:
            raise Undecided("several logit vectors and a singular V = W_o W_v: the criterion needs an invertible one")
        position = {id(query): k for k, query in enumerate(queries)}
        members = tuple(tuple(position[id(query)] for query in problem.queries) for problem in problems)
        found = cls(tuple(queries), tuple(problems), members)
        count = 1
        for preimage in found.preimages:
            count *= len(preimage.pieces)
        if count > MAX_COMBINATIONS:
            raise Undecided(f"more than {MAX_COMBINATIONS} combinations of preimages")
        return found

    @property
    def preimages(self) -> list[Preimage]:
        """One for each query, in the order of the queries."""
        result: dict[int, Preimage] = {}
        for problem, members in zip(self.problems, self.members, strict=True):
            result.update(zip(members, problem.preimages, strict=True))
        return [result[k] for k in range(len(self.queries))]

    @property
    def inverse(self) -> RationalMatrix:
        return self.problems[0].V.inverse()

    def combinations(self) -> list[tuple[int, ...]]:
        """One preimage for each query, the last query's choice running fastest."""
        return list(product(*[range(len(preimage.pieces)) for preimage in self.preimages]))

    def system(self, choice: Sequence[int], length: int | None) -> System | GroupImpossible:
        groups: list[Group] = []
        for problem, members in zip(self.problems, self.members, strict=True):
            found = group_of(problem, [choice[k] for k in members])
            if isinstance(found, Impossible):
                places = tuple((members[e.i], members[e.j], e.coordinate) for e in found.equations)
                return GroupImpossible(found.argument, places)
            groups.append(found)
        return System(tuple(groups), length)

    def equation_places(self, system: System) -> list[tuple[int, int, int] | None]:
        """For each group its equation, with queries numbered in the whole dataset."""
        result: list[tuple[int, int, int] | None] = []
        for group, members in zip(system.groups, self.members, strict=True):
            e = group.equation
            result.append(None if e is None else (members[e.i], members[e.j], e.coordinate))
        return result

    def points(self, system: System) -> list[tuple[fmpq, ...]]:
        """The chosen preimage of each query, in the order of the queries."""
        result: dict[int, tuple[fmpq, ...]] = {}
        for group, members in zip(system.groups, self.members, strict=True):
            problem, choice = group.combination.problem, group.combination.choice
            for k, found, i in zip(members, problem.preimages, choice, strict=True):
                point = found.pieces[i].point
                assert point is not None
                result[k] = point
        return [result[k] for k in range(len(self.queries))]


@dataclass(frozen=True)
class CriterionDecision:
    """``possible``: a system with a strictly feasible point; otherwise ``against`` has an argument for every
    combination."""

    data: SeveralQueries
    length: int | None
    possible: tuple[System, FeasiblePoint] | None
    against: tuple[GroupImpossible | Refuted, ...]


def decide_several(data: SeveralQueries, *, seed: int = 0) -> CriterionDecision:
    """Memorizable by prompts of some length, or by none. Raises Undecided where a combination is neither."""
    against: list[GroupImpossible | Refuted] = []
    undecided: Undecided | None = None
    for choice in data.combinations():
        system = data.system(choice, None)
        if isinstance(system, GroupImpossible):
            against.append(system)
            continue
        try:
            found = _decide_system(system, seed)
        except Undecided as reason:
            undecided = reason
            continue
        if isinstance(found, FeasiblePoint):
            return CriterionDecision(data, None, (system, found), ())
        against.append(Refuted(system, found))
    if undecided is not None:
        raise undecided
    return CriterionDecision(data, None, None, tuple(against))


def _decide_system(system: System, seed: int) -> FeasiblePoint | CriterionTree:
    search = CriterionSearch(system)
    if system.independent:
        point = search.find_point(seed)
        if point is not None:
            return point
    dependent = Undecided(
        "the logit vectors are linearly dependent: the inequalities have a solution, which is necessary, not sufficient"
    )
    fixed = [bracket for bracket in system.brackets if bracket is not None]
    if not system.independent and len(fixed) == len(system.groups) and system.holds_strictly(fixed):
        raise dependent
    found = search.refute()
    if isinstance(found, FeasiblePoint) and not system.independent:
        raise dependent
    return found


def refute_length(data: SeveralQueries, length: int) -> CriterionDecision | None:
    """A proof that no prompt of at most ``length`` tokens memorizes, or None when none was found."""
    against: list[GroupImpossible | Refuted] = []
    for choice in data.combinations():
        system = data.system(choice, length)
        if isinstance(system, GroupImpossible):
            against.append(system)
            continue
        search = CriterionSearch(system, max_nodes=400)
        try:
            tree = None if search.find_point() is not None else search.refute()
        except Undecided:
            return None
        if tree is None or isinstance(tree, FeasiblePoint):
            return None
        against.append(Refuted(system, tree))
    return CriterionDecision(data, length, None, tuple(against))


def length_bound(data: SeveralQueries, limit: int = 1 << 20) -> tuple[int, CriterionDecision | None]:
    """(N, proof): more than N tokens are needed, N as large as doubling and bisection up to ``limit`` find."""
    best: tuple[int, CriterionDecision | None] = (0, None)
    high = 1
    while high <= limit:
        proof = refute_length(data, high)
        if proof is None:
            break
        best = (high, proof)
        high *= 2
    low = best[0]
    while high - low > 1:
        middle = (low + high) // 2
        proof = refute_length(data, middle)
        if proof is None:
            high = middle
        else:
            low, best = middle, (middle, proof)
    return best


def shortest_found(
    system: System, point: FeasiblePoint, at_least: int, *, limit: int = MAX_TOKENS, seed: int = 0
) -> ProvedPrompt | None:
    """A proved prompt of at most ``limit`` tokens, as short as the search finds: from clusters of tokens first, then
    from random starts at the few shortest lengths that are not excluded (at least ``at_least``), at last with few
    tokens that are repeated."""
    sigmas = list(CriterionSearch(system).short_points(point))
    best = prompt_from_clusters(system, sigmas, longest=min(limit, 64), seed=seed)
    longest = min(limit, 64) if best is None else best.length - 1
    for length in range(at_least, min(longest, at_least + 3) + 1):
        proved = find_prompt(system, length, starts=8, seed=seed)
        if proved is not None:
            return proved
    if best is None and sigmas:
        sigma = sigmas[-1]  # the divergences are least, and with them the length
        means = [mean for mean, _ in clusters(system, sigma)]
        best = prompt_from_counts(
            lambda counts: PromptEquations(system, counts, sigma), means, shortest=at_least, longest=limit, seed=seed
        )
    return best


@dataclass(frozen=True)
class SeveralAnswer:
    """What is known of a dataset with several logit vectors: ``against`` (no prompt, of at most the asked length if
    one was asked), or ``possible`` (some prompt of some length), ``proved`` (this prompt), and ``too_short`` (no
    prompt of at most ``too_short.length`` tokens; None: not even one token is excluded)."""

    data: SeveralQueries
    against: CriterionDecision | None = None
    possible: tuple[System, FeasiblePoint] | None = None
    proved: ProvedPrompt | None = None
    too_short: CriterionDecision | None = None

    @property
    def minimal_length(self) -> int | None:
        """The least number of tokens, where the bound meets the prompt."""
        more_than = 0 if self.too_short is None or self.too_short.length is None else self.too_short.length
        found = None if self.proved is None else self.proved.length
        return found if found == more_than + 1 else None


def answer_several(
    data: SeveralQueries,
    length: int | None = None,
    *,
    explicit: bool = False,
    max_tokens: int = MAX_TOKENS,
    seed: int = 0,
) -> SeveralAnswer:
    """Decide for any length, or for at most ``length`` tokens (where memorizable needs an explicit prompt).
    ``explicit`` asks for a proved prompt of at most ``max_tokens`` tokens. Raises Undecided."""
    decision = decide_several(data, seed=seed)
    if decision.possible is None:
        return SeveralAnswer(data, against=decision)
    bound = length_bound(data)[1]
    more_than = 0 if bound is None or bound.length is None else bound.length
    if length is not None:
        against = bound if length <= more_than else refute_length(data, length)
        if against is not None:
            if against.length != length:
                against = refute_length(data, length)
            return SeveralAnswer(data, against=against, too_short=bound)
    proved = None
    if explicit or length is not None:
        limit = max_tokens if length is None else min(length, max_tokens)
        proved = shortest_found(*decision.possible, more_than + 1, limit=limit, seed=seed)
        if proved is None and length is not None:
            raise Undecided(
                f"some prompt memorizes, with more than {more_than} tokens; whether {length} are enough is not decided"
            )
    return SeveralAnswer(data, None, decision.possible, proved, bound)


def log_bracket(length: int) -> tuple[fmpq, fmpq]:
    """Rationals l ≤ log N ≤ h, 2^-60 apart or equal."""
    if length == 1:
        return fmpq(0), fmpq(0)
    with flint.ctx.workprec(128):
        power = fmpq(2) ** 60
        near = fmpq((midpoint(arb(length).log()) * power).floor()) / power
    return near - 1 / power, near + 2 / power
