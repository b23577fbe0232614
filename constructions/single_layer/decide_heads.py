"""Deciding data on a layer with several heads, or with heads smaller than the width.

By peeling if no two pairs of a query and a head share a logit vector, by Theorem C if some do, else by refuting all
masses; what is left is undecided, with the reason. Source: THEORY section 3.3.
"""

from __future__ import annotations

from dataclasses import dataclass

from flint import fmpq

from constructions.single_layer.heads_criterion import HeadsRefuted, refute_heads
from constructions.single_layer.heads_prompt import ClusterPrompt, cluster_prompt, find_heads_prompt
from constructions.single_layer.newton_prompt import ProvedPrompt
from constructions.single_layer.peeling import Peeled, Stuck, peel
from constructions.single_layer.several_heads import SeveralHeads
from constructions.single_layer.shared_queries import SharedSolution, solve_shared
from constructions.verdict import Undecided

MAX_TOKENS, SHORT = 64, 24


@dataclass(frozen=True)
class PeeledData:
    """Memorizable by Theorem B: the preimages chosen, what each head is to give (V_j u_α for the ``inputs`` u_α), and
    the heights and directions of all pairs."""

    choice: tuple[int, ...]
    inputs: tuple[tuple[fmpq, ...], ...]
    peeled: Peeled


@dataclass(frozen=True)
class HeadsAnswer:
    """What is known of a dataset: ``against`` (no prompt, of at most the asked length if one was asked), or ``choice``,
    preimages that some prompt gives by ``peeled`` or ``shared`` or because it is ``proved``; ``clusters`` is the prompt
    of Theorem B at its honest length."""

    data: SeveralHeads
    against: HeadsRefuted | None = None
    choice: tuple[int, ...] | None = None
    peeled: PeeledData | None = None
    shared: SharedSolution | None = None
    proved: ProvedPrompt | None = None
    clusters: ClusterPrompt | None = None


def answer_heads(
    data: SeveralHeads, length: int | None = None, *, explicit: bool = False, seed: int = 0
) -> HeadsAnswer:
    """Decide for prompts of any length, or of at most ``length`` tokens (where memorizable needs an explicit prompt).
    Raises Undecided."""
    found = memorized(data)
    if found is None:
        try:
            return HeadsAnswer(data, against=refute_heads(data, length))
        except Undecided as reason:
            answer = search_prompt(data, length, seed=seed)
            if answer is None:
                raise Undecided(f"{_why_open(data)}; {reason}; no short prompt was found") from None
            return answer
    proved = None
    if length is not None:  # few boxes often show that so few tokens are not enough
        try:
            return HeadsAnswer(data, against=refute_heads(data, length, max_nodes=20))
        except Undecided:
            pass
    if explicit or length is not None:
        limit = MAX_TOKENS if length is None else min(length, MAX_TOKENS)
        proved = find_heads_prompt(data, found.choice, longest=limit, seed=seed)
        if proved is None and length is not None:
            raise Undecided(f"some prompt memorizes; whether one of at most {length} tokens does is not decided")
    if isinstance(found, SharedSolution):
        return HeadsAnswer(data, None, found.choice, shared=found, proved=proved)
    clusters = cluster_prompt(data, found.inputs, found.peeled)
    return HeadsAnswer(data, None, found.choice, peeled=found, proved=proved, clusters=clusters)


def search_prompt(data: SeveralHeads, length: int | None = None, *, seed: int = 0) -> HeadsAnswer | None:
    """A short proved prompt, found by a short search: what is left where no theorem decides."""
    for choice in data.combinations()[:4]:
        longest = SHORT if length is None else min(length, SHORT)
        proved = find_heads_prompt(data, choice, longest=longest, starts=3, seed=seed)
        if proved is not None:
            return HeadsAnswer(data, None, choice, proved=proved)
    return None


def memorized(data: SeveralHeads) -> PeeledData | SharedSolution | None:
    """A proof that some prompt memorizes the data, contexts and targets as they are; None when neither theorem gives
    one."""
    if not data.pairs.distinct:
        return solve_shared(data)
    found = peel(data.pairs)
    if isinstance(found, Stuck):
        return None
    for choice in data.combinations():
        inputs = data.inputs(choice)
        if inputs is not None:
            return PeeledData(choice, tuple(tuple(u) for u in inputs), found)
    return None


def _why_open(data: SeveralHeads) -> str:
    """Why neither theorem shows the data memorizable, and what is generic."""
    pairs = data.pairs
    if pairs.distinct:
        return (
            "all pairs of a query and a head have different logit vectors, but they cannot be peeled: some targets are "
            "out of reach, for these it is not decided"
        )
    n, h, d = len(data.queries), len(pairs.heads), pairs.width
    largest = max(len(members) for members in pairs.groups)
    ranks = sum(V.rank() + 1 for V in pairs.V)
    if len(pairs.groups) == h and n > 1 and n * d > ranks:
        return (
            f"the {n} queries share their logit vectors at all heads: {n * d} equations in {ranks} unknowns, so no "
            "prompt serves generic data; for these it is not decided"
        )
    return f"up to {largest} pairs share a logit vector"
