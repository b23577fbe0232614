"""Peeling: when a prompt gives every query any head outputs it is asked for (Theorems A and B).

A pair α can be *peeled* off a set of pairs if some direction k in K_j = ker V_j, which its head does not see, has
``(q_β − q_α)·k < 0`` for all other β of the set: tokens far out along k are seen by α alone. If all pairs can be peeled
one after the other, there are heights σ and directions k with

    (q_β − q_α)·k_α < σ_β − σ_α   for all β ≠ α                                              (*)

and every dataset whose targets are in range is memorizable. If a set remains of which no pair can be peeled, a flow c ≥
0 with equal row and column sums has ``Σ_β c_αβ (q_β − q_α) = V_j^T η_α``, and every prompt obeys ``Σ_α η_α·V_j p̄_α ≤
0``: an open set of targets is out of reach. One head whose logit vectors differ modulo row(V) is always peeled (Theorem
A). Source: THEORY section 3.3; proofs in docs/theory/several-heads.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flint import fmpq, fmpq_mat

from constructions.numbers import linear
from constructions.numbers.rational import RationalMatrix, dot
from constructions.single_layer.several_heads import HeadPairs

Row = list[fmpq]


@dataclass(frozen=True)
class Peeled:
    """``heights`` σ_α and ``directions`` k_α that satisfy (*), with the order in which the pairs were removed."""

    order: tuple[int, ...]
    heights: tuple[fmpq, ...]
    directions: tuple[tuple[fmpq, ...], ...]


@dataclass(frozen=True)
class Stuck:
    """The pairs that remain, and what follows: ``flow`` (N×N, zero outside of them) and ``values`` η (N×d)."""

    remaining: tuple[int, ...]
    flow: RationalMatrix
    values: RationalMatrix


def peel(pairs: HeadPairs) -> Peeled | Stuck:
    """Remove one pair after the other, by exact linear programs; any order leads to the same end.

    Raises ValueError when two pairs share a logit vector: neither can ever be peeled off the other.

    >>> from constructions.transformer import Head
    >>> R = RationalMatrix.of
    >>> pairs = HeadPairs.of([Head(R([[1, 0]]), R([[0, 1]]), R([[1, 0]]), R([[1], [0]]))], R([[1, 2], [0, 0]]))
    >>> found = peel(pairs)
    >>> found.order, holds(pairs, found.heights, found.directions)
    ((0, 1), True)
    """
    _require_distinct(pairs)
    found = _independent(pairs)
    if found is not None:
        return found
    order: list[int] = []
    directions: dict[int, Row] = {}
    remaining = list(range(len(pairs)))
    while remaining:
        weights: dict[int, dict[int, fmpq]] = {}
        removed = False
        for alpha in list(remaining):
            others = [beta for beta in remaining if beta != alpha]
            answer = _direction(pairs, alpha, others)
            if isinstance(answer, dict):
                weights[alpha] = answer
                continue
            order.append(alpha)
            directions[alpha] = answer
            remaining.remove(alpha)
            removed = True
        if not removed:
            return _stuck(pairs, remaining, weights)
    return _peeled(pairs, order, directions)


def star(pairs: HeadPairs) -> Peeled | Stuck:
    """The same question as one exact linear program, (*) with margin 1: the reference for :func:`peel`. Raises
    ValueError likewise: a flow between pairs that share a logit vector says nothing."""
    _require_distinct(pairs)
    N = len(pairs)
    starts, width = [], N
    for alpha in range(N):
        starts.append(width)
        width += pairs.kernels[pairs.head(alpha)].shape[1]
    rows: list[Row] = []
    places = [(alpha, beta) for alpha in range(N) for beta in range(N) if beta != alpha]
    for alpha, beta in places:
        row = [fmpq(0)] * width
        row[alpha] += 1
        row[beta] -= 1
        seen = _seen(pairs, alpha, beta)
        row[starts[alpha] : starts[alpha] + len(seen)] = seen
        rows.append(row)
    if not rows:
        return Peeled((0,), (fmpq(0),), ((fmpq(0),) * pairs.width,))
    G = fmpq_mat(len(rows), width, [x for row in rows for x in row])
    answer = linear.feasible(G, [fmpq(-1)] * len(rows))
    if isinstance(answer, linear.Infeasible):
        return _stuck_by_flow(pairs, dict(zip(places, answer.farkas, strict=True)))
    heights = answer.point[:N]
    directions = [
        pairs.kernels[pairs.head(alpha)].apply(
            answer.point[starts[alpha] : starts[alpha] + pairs.kernels[pairs.head(alpha)].shape[1]]
        )
        for alpha in range(N)
    ]
    order = sorted(range(N), key=lambda alpha: -heights[alpha])
    return Peeled(tuple(order), tuple(heights), tuple(tuple(k) for k in directions))


def holds(pairs: HeadPairs, heights: Sequence[fmpq], directions: Sequence[Sequence[fmpq]]) -> bool:
    """Whether (*) holds, each k_α unseen by its head."""
    for alpha, k in enumerate(directions):
        if any(x != 0 for x in pairs.V[pairs.head(alpha)].apply(list(k))):
            return False
        own = dot(pairs.q[alpha], k) - heights[alpha]
        for beta in range(len(pairs)):
            if beta != alpha and not dot(pairs.q[beta], k) - heights[beta] < own:
                return False
    return True


def _require_distinct(pairs: HeadPairs) -> None:
    if not pairs.distinct:
        raise ValueError("peeling: expected pairs with different logit vectors, found two that share one")


def _seen(pairs: HeadPairs, alpha: int, beta: int) -> Row:
    """``(q_β − q_α)·k`` in coordinates of k on the basis of the kernel of α's head."""
    difference = [x - y for x, y in zip(pairs.q[beta], pairs.q[alpha], strict=True)]
    return pairs.kernels[pairs.head(alpha)].T.apply(difference)


def _independent(pairs: HeadPairs) -> Peeled | None:
    """All heights zero: for each pair a direction that lowers all other scores by one. It exists if the logit vectors
    are affinely independent modulo each row(V_j), which needs no linear program."""
    N = len(pairs)
    directions = []
    for alpha in range(N):
        kernel = pairs.kernels[pairs.head(alpha)]
        if kernel.shape[1] < N - 1:
            return None
        rows = [_seen(pairs, alpha, beta) for beta in range(N) if beta != alpha]
        solution = RationalMatrix.of(rows, columns=kernel.shape[1]).solve([fmpq(-1)] * (N - 1))
        if solution is None:
            return None
        directions.append(tuple(kernel.apply(solution)))
    return Peeled(tuple(range(N)), (fmpq(0),) * N, tuple(directions))


def _direction(pairs: HeadPairs, alpha: int, others: Sequence[int]) -> Row | dict[int, fmpq]:
    """A direction that peels α off the others, or weights T_αβ ≥ 0, not all zero, with ``Σ_β T_αβ (q_β − q_α)``
    orthogonal to K_j."""
    kernel = pairs.kernels[pairs.head(alpha)]
    if not others:
        return [fmpq(0)] * pairs.width
    if kernel.shape[1] == 0:
        return {beta: fmpq(1) for beta in others}
    rows = [_seen(pairs, alpha, beta) for beta in others]
    G = fmpq_mat(len(rows), kernel.shape[1], [x for row in rows for x in row])
    answer = linear.feasible(G, [fmpq(-1)] * len(rows))
    if isinstance(answer, linear.Infeasible):
        return {beta: t for beta, t in zip(others, answer.farkas, strict=True) if t != 0}
    for bits in range(0, 24, 4):  # short directions make short certificates
        t = [fmpq((x * 2**bits + fmpq(1, 2)).floor()) / 2**bits for x in answer.point]
        if all(dot(row, t) < 0 for row in rows):
            return kernel.apply(t)
    return kernel.apply(answer.point)


def _peeled(pairs: HeadPairs, order: Sequence[int], directions: dict[int, Row]) -> Peeled:
    """Heights for the order: from the last pair to the first each is lifted above what the later ones' directions ask
    of it, and its own direction stretched until the later ones are below it."""
    heights: dict[int, fmpq] = {}
    scaled: dict[int, Row] = {}
    later: list[int] = []
    for alpha in reversed(order):
        height = fmpq(0)
        for beta in later:  # (q_α − q_β)·k_β < σ_α − σ_β
            rise = dot(pairs.q[alpha], scaled[beta]) - dot(pairs.q[beta], scaled[beta])
            height = max(height, fmpq((heights[beta] + rise).floor() + 1))
        k = directions[alpha]
        stretch = fmpq(1)
        for beta in later:  # stretch (q_β − q_α)·k_α < σ_β − σ_α
            fall = dot(pairs.q[alpha], k) - dot(pairs.q[beta], k)
            needed = (height - heights[beta]) / fall
            if needed >= stretch:
                stretch = fmpq(needed.floor() + 1)
        heights[alpha] = height
        scaled[alpha] = [stretch * x for x in k]
        later.append(alpha)
    found = range(len(pairs))
    return Peeled(tuple(order), tuple(heights[a] for a in found), tuple(tuple(scaled[a]) for a in found))


def _stuck(pairs: HeadPairs, remaining: Sequence[int], weights: dict[int, dict[int, fmpq]]) -> Stuck:
    """A stationary law of the walk with the given weights on a closed class, turned into a flow."""
    closed = _closed_class(remaining, weights)
    totals = {alpha: sum(weights[alpha].values(), fmpq(0)) for alpha in closed}
    balance = [
        [(weights[alpha].get(beta, fmpq(0)) / totals[alpha]) - int(alpha == beta) for alpha in closed]
        for beta in closed
    ]
    law = RationalMatrix.of(balance, columns=len(closed)).nullspace()[0]
    if any(x < 0 for x in law):
        law = [-x for x in law]
    flow = {
        (alpha, beta): share * t / totals[alpha]
        for alpha, share in zip(closed, law, strict=True)
        for beta, t in weights[alpha].items()
    }
    return _stuck_by_flow(pairs, flow, remaining)


def _closed_class(states: Sequence[int], weights: dict[int, dict[int, fmpq]]) -> list[int]:
    """States that reach each other and nothing else: where a walk that is led to the smallest reachable set ends."""
    best: set[int] | None = None
    for start in states:
        reached, frontier = {start}, [start]
        while frontier:
            for beta in weights[frontier.pop()]:
                if beta not in reached:
                    reached.add(beta)
                    frontier.append(beta)
        if best is None or len(reached) < len(best):
            best = reached
    assert best is not None
    return sorted(best)


def _stuck_by_flow(
    pairs: HeadPairs, flow: dict[tuple[int, int], fmpq], remaining: Sequence[int] | None = None
) -> Stuck:
    N = len(pairs)
    c = RationalMatrix.of([[flow.get((alpha, beta), fmpq(0)) for beta in range(N)] for alpha in range(N)])
    common = RationalMatrix(c.mat * fmpq(c.mat.numer_denom()[1]))  # whole numbers
    values: list[Row] = []
    for alpha in range(N):
        drift = [fmpq(0)] * pairs.width
        for beta in range(N):
            if common[alpha, beta] != 0:
                for i in range(pairs.width):
                    drift[i] += common[alpha, beta] * (pairs.q[beta][i] - pairs.q[alpha][i])
        eta = pairs.V[pairs.head(alpha)].T.solve(drift)
        assert eta is not None  # orthogonal to the kernel: in the row space
        values.append(eta)
    if remaining is None:
        remaining = [alpha for alpha in range(N) if any(common[alpha, beta] != 0 for beta in range(N))]
    return Stuck(tuple(remaining), common, RationalMatrix.of(values))
