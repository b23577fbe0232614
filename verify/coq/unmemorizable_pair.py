"""Certificates of ``unmemorizable-pair``: theorem ``check_pair_sound`` of formal/ReplayPair.v."""

from __future__ import annotations

from verify.coq.writing import Json, Replay, columns, layer, listed, matrix, parts, vector

IMPORTS = ("Vectors", "Rational", "Layer", "Data", "Exponential", "ReplayPair")
NO_MULTIPLIERS = "(vector_over 1 [])"


def instance(content: Json) -> list[str]:
    """The layer and its queries."""
    lines = layer(content["layer"], "the_layer")
    for k, query in enumerate(content["queries"], start=1):
        fields = (
            ("X", columns(query["X"])),
            ("column", str(query["column"])),
            ("target", vector(query["target"])),
        )
        lines.append(f"Definition query_{k} : query Q :=\n{parts('Query', *fields)}.\n")
    names = "; ".join(f"query_{k}" for k in range(1, len(content["queries"]) + 1))
    lines.append(f"Definition queries : list (query Q) := [{names}].\n")
    return lines


def replay(certificate: Json) -> Replay:
    """The certificate in Coq. Raises NotExportableError."""
    witness = certificate["witness"]
    if witness["argument"] == "contradictory-data":
        term = "ContradictoryData"
    elif witness["argument"] == "out-of-range":
        term = f"OutOfRange {_tree(witness['preimage']['tree'])}"
    else:
        first, second = map(_preimage, witness["preimages"])
        rows = listed(witness["pairs"], lambda row: "\n      " + listed(row, _separation))
        term = f"\n    Separated\n    {first}\n    {second}\n    {rows}"
    definitions = [*instance(certificate["instance"]), f"Definition the_witness : witness := {term}.\n"]
    theorem = [
        "Lemma checked : check_pair standard_precisions the_layer queries the_witness = true.",
        "Proof. vm_compute. reflexivity. Qed.\n",
        "(* No prompt of one token or more, of real numbers, makes this layer meet all of these queries. *)",
        "Theorem certificate : no_prompt_meets (real_layer the_layer) (map real_query queries).",
        "Proof. exact (check_pair_sound standard_precisions the_layer queries the_witness checked). Qed.",
    ]
    return Replay("check_pair_sound", definitions, theorem)


def _preimage(value: Json) -> str:
    if value["kind"] == "point":
        return f"(Point {vector(value['z'])} {matrix(value['factor'])})"
    return f"(Tree {_tree(value['tree'])})"


def _tree(node: Json) -> str:
    if "unit" in node:
        return f"(Branch {node['unit']} {_tree(node['active'])} {_tree(node['inactive'])})"
    return "Piece" if node["leaf"] == "piece" else f"(Empty {vector(node['multipliers'])})"


def _separation(value: Json) -> str:
    kind = "Cone" if value["argument"] == "cone" else "Closeness"
    multipliers = " ".join(NO_MULTIPLIERS if m is None else vector(m) for m in value["multipliers"])
    return f"Separation {kind} {value['head']} {vector(value['w'])} {multipliers}"
