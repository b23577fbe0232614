"""Claim: the contextual map gives all contexts different ids (THEORY section 6, items 2 and 3)."""

from __future__ import annotations

from functools import partial

from constructions.universality.contextual_map import ContextualMap
from constructions.universality.grid import Grid
from constructions.verdict import Evidence, Verdict
from verify import certificate as write
from verify.certificate import Certificate
from verify.claims.claim import Case, CaseResult, Claim, Constant, Finding, Settings
from verify.falsifiers.contextual_mapping import FALSIFIER

SLUG = "contextual-mapping"


def _instance(map: ContextualMap) -> dict[str, object]:
    grid = map.grid
    return {"d": grid.d, "m": grid.m, "k": grid.k, "G": write.integer(map.G)}


def distinct_certificate(map: ContextualMap, by: str) -> Certificate:
    """All ids of read columns differ, by the bound on G or by enumeration."""
    return Certificate(SLUG, "distinct-ids", Evidence.EXACT, _instance(map), {"by": by})


def collision_certificate(
    map: ContextualMap, contexts: tuple[tuple[int, ...], tuple[int, ...]], columns: tuple[int, int]
) -> Certificate:
    """Two read columns with one id."""
    witness = {"contexts": [list(codes) for codes in contexts], "columns": list(columns)}
    return Certificate(SLUG, "collision", Evidence.EXACT, _instance(map), witness)


def _distinct(d: int, m: int, k: int, G: int | None, by: str) -> CaseResult:
    grid = Grid(d, m, k)
    map = ContextualMap(grid, ContextualMap(grid).sufficient_shift() if G is None else G)
    if not map.fires_once().holds or not map.ids_differ().holds:
        return CaseResult(Verdict.REFUTED, Evidence.EXACT, "ids of read columns are not shown to differ")
    for codes in _some(map):
        if map.decode(map.swept(codes)[-1]) != list(codes):
            return CaseResult(Verdict.REFUTED, Evidence.EXACT, f"context {codes} is decoded wrongly")
    size = map.G.bit_length()
    summary = f"d = {d}, m = {m}, k = {k}, G of {size} bits: {grid.c}^{grid.tokens} contexts, all ids different"
    constants: tuple[Constant, ...] = ()
    if m > 1:  # for m = 1 no shift is needed
        literature = grid.tokens * k ** ((grid.tokens + 1) * d + 1)
        constants = (
            Constant(
                f"global shift G that is enough, d = {d}, m = {m}, k = {k}",
                f"n δ^{{−(n+1)d−1}} = {literature}",
                f"{map.G}",
                f"{literature / int(map.G):.3g} times smaller",
            ),
        )
    return CaseResult(Verdict.PROVED, Evidence.EXACT, summary, distinct_certificate(map, by), constants=constants)


def _some(map: ContextualMap) -> list[tuple[int, ...]]:
    """A few contexts: all zeros, all largest, and mixed ones."""
    c, n = map.grid.c, map.grid.tokens
    return [(0,) * n, (c - 1,) * n, tuple(j % c for j in range(n)), tuple((c - 1 - j) % c for j in range(n))]


def collision(map: ContextualMap) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], tuple[int, int]] | None:
    """The first two (context, read column) with one id, by enumeration."""
    grid = map.grid
    seen: dict[object, tuple[tuple[int, ...], int]] = {}
    for codes in map.contexts():
        final = map.final(codes)
        for column in range(grid.prompt_length, grid.tokens):
            other = seen.setdefault(final[column], (codes, column))
            if other != (codes, column):
                return (other[0], codes), (other[1], column)
    return None


def _collision(d: int, m: int, k: int, G: int) -> CaseResult:
    map = ContextualMap(Grid(d, m, k), G)
    found = collision(map)
    if found is None:
        return CaseResult(Verdict.UNDECIDED, Evidence.EXACT, "no collision was found")
    summary = f"d = {d}, m = {m}, k = {k}, G = {G}: two read columns have the same id"
    constants: tuple[Constant, ...] = ()
    if k ** ((map.grid.tokens + 1) * d) == G:
        stated = f"δ^{{−(n+1)d}} = {G}"
        where = f"global shift G that keeps ids apart, d = {d}, m = {m}, k = {k}"
        constants = (Constant(where, stated, "two columns that are read collide at it", "too small"),)
    proof = collision_certificate(map, *found)
    return CaseResult(Verdict.PROVED, Evidence.EXACT, summary, proof, constants=constants)


def cases(settings: Settings) -> list[Case]:
    found = [
        Case("d1-m1-k2", partial(_distinct, 1, 1, 2, None, "enumeration")),
        Case("d2-m1-k2", partial(_distinct, 2, 1, 2, None, "enumeration")),
        Case("d1-m2-k2", partial(_distinct, 1, 2, 2, None, "bound")),
        Case("d1-m1-k79", partial(_distinct, 1, 1, 79, None, "bound")),
        Case("shift-too-small", partial(_collision, 1, 2, 2, 2**11)),
    ]
    if settings.thorough:
        found += [
            Case(f"d{d}-m{m}-k{k}", partial(_distinct, d, m, k, None, "bound")) for d, m, k in ((1, 3, 2), (2, 2, 2))
        ]
    return found


CLAIM = Claim(
    slug=SLUG,
    title="Contextual mapping",
    statement=(
        "After the sweep the id of the last column names the whole context; after the global shift by "
        "G ≥ c^n((n−1)Uk + c) all ids of read columns are different."
    ),
    source="THEORY section 6 (cf. the contextual mapping of Yun et al. 2020)",
    scope="that all ids differ for this grid and shift, or two that are equal",
    cases=cases,
    depends=("quantisation",),
    findings=(
        Finding("A global shift of δ^{−(n+1)d} is too small: two columns that are read collide.", "shift-too-small"),
    ),
    falsifier=FALSIFIER,
)
