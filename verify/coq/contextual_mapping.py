"""Certificates of ``contextual-mapping``: theorems ``check_bound_sound`` of formal/ContextualMappingBound.v (one read
column, or a shift above the bound), ``check_distinct_sound`` of formal/ContextualMapping.v (all contexts, run through
the sweep) and ``check_collision_sound`` (two contexts, run through it)."""

from __future__ import annotations

from verify.coq.writing import Json, NotExportableError, Replay, integer, listed

IMPORTS = ("ContextualMapping", "ContextualMappingBound")
MAX_COLUMNS = 5000
"""Coq counts codes and columns in unary."""
MAX_IDS = 1 << 14
"""Without the bound Coq runs every context through every layer; this many read ids take it some ten seconds."""


def replay(certificate: Json) -> Replay:
    """The certificate in Coq. Raises NotExportableError."""
    instance, witness = certificate["instance"], certificate["witness"]
    d, m, k = _grid(instance)
    grid = f"{d} {m} {k} G"
    definitions = [f"(* d, m, k = {d}, {m}, {k} *)", f"Definition G : Z := {integer(instance['G'])}.\n"]
    if certificate["relation"] == "collision":
        first, second = (listed(codes, integer) for codes in witness["contexts"])
        definitions += [f"Definition context_1 : list Z := {first}.", f"Definition context_2 : list Z := {second}.\n"]
        arguments = f"{grid} context_1 context_2 {witness['columns'][0]} {witness['columns'][1]}"
        check, relation = "check_collision", "collision"
        says = "Two different read columns have one id after sweep and shift."
    else:
        arguments, relation = grid, "distinct_ids"
        check = "check_bound" if _shift_is_enough(d, m, k, int(str(instance["G"]), 0)) else "check_distinct"
        if check == "check_distinct" and m * k ** (d * m * (k ** (d * m) + 1)) > MAX_IDS:
            raise NotExportableError(f"a shift by the bound, or at most {MAX_IDS} ids", "neither")
        says = "Every column fires once in the sweep, and all read columns of all contexts have different ids after it."
    return Replay(
        f"{check}_sound",
        definitions,
        [
            f"Lemma checked : {check} {arguments} = true.",
            "Proof. vm_compute. reflexivity. Qed.\n",
            f"(* {says} *)",
            f"Theorem certificate : {relation} {grid}.",
            f"Proof. exact ({check}_sound {arguments} checked). Qed.",
        ],
    )


def _grid(instance: Json) -> tuple[int, int, int]:
    d, m, k = (instance[name] for name in ("d", "m", "k"))
    small = all(isinstance(x, int) and x <= MAX_COLUMNS for x in (d, m, k)) and d * m <= MAX_COLUMNS.bit_length()
    if not small or m * (k ** (d * m) + 1) > MAX_COLUMNS:
        raise NotExportableError(f"at most {MAX_COLUMNS} columns", "more than that")
    return d, m, k


def _shift_is_enough(d: int, m: int, k: int, G: int) -> bool:
    c, n = k**d, m * (k ** (d * m) + 1)
    return m == 1 or c**n * ((n - 1) * (c - 1) // (k - 1) * k + c) <= G
