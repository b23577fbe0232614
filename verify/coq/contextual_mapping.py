"""Certificates of ``contextual-mapping``: theorems ``check_distinct_sound`` (all contexts, run through the sweep) and
``check_collision_sound`` of formal/ContextualMapping.v."""

from __future__ import annotations

from verify.coq.writing import Json, NotExportableError, integer, listed

IMPORTS = ("ContextualMapping",)
MAX_IDS = 1 << 14
"""Coq runs every context through every layer of the sweep; this many read ids take it some ten seconds."""


def proof(certificate: Json) -> tuple[list[str], list[str]]:
    """The definitions of instance and witness, and the theorem with its proof. Raises NotExportableError."""
    instance, witness = certificate["instance"], certificate["witness"]
    grid = f"{instance['d']} {instance['m']} {instance['k']} G"
    definitions = [f"(* d, m, k = {grid.removesuffix(' G')} *)", f"Definition G : Z := {integer(instance['G'])}.\n"]
    if certificate["relation"] == "collision":
        first, second = (listed(codes, integer) for codes in witness["contexts"])
        definitions += [f"Definition context_1 : list Z := {first}.", f"Definition context_2 : list Z := {second}.\n"]
        arguments = f"{grid} context_1 context_2 {witness['columns'][0]} {witness['columns'][1]}"
        return definitions, [
            f"Lemma checked : check_collision {arguments} = true.",
            "Proof. vm_compute. reflexivity. Qed.\n",
            "(* Two different read columns have one id after sweep and shift. *)",
            f"Theorem certificate : collision {grid}.",
            f"Proof. exact (check_collision_sound {arguments} checked). Qed.",
        ]
    _demand_small(instance)
    return definitions, [
        f"Lemma checked : check_distinct {grid} = true.",
        "Proof. vm_compute. reflexivity. Qed.\n",
        "(* No column fires twice in the sweep, and all read columns of all contexts have different ids after it. *)",
        f"Theorem certificate : distinct_ids {grid}.",
        f"Proof. exact (check_distinct_sound {grid} checked). Qed.",
    ]


def _demand_small(instance: Json) -> None:
    d, m, k = (instance[name] for name in ("d", "m", "k"))
    small = all(isinstance(x, int) and x < 64 for x in (d, m, k)) and d * m * k < 64
    ids = m * k ** (d * m * (k ** (d * m) + 1)) if small and k ** (d * m) < 64 else None
    if ids is None or ids > MAX_IDS:
        raise NotExportableError(f"at most {MAX_IDS} ids, all of which Coq computes", "more than that")
