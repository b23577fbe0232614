"""Certificates of ``prompted-injectivity``, relation ``collapse``: theorem ``check_collapse_sound`` of
formal/ReplayCollapse.v."""

from __future__ import annotations

from verify.coq.writing import Json, NotExportableError, Replay, layer, listed, matrix

IMPORTS = ("Vectors", "Rational", "Layer", "Data", "ReplayCollapse")
MAX_TOKENS = 5000
"""Numbers of tokens are written in unary by Coq."""


def replay(certificate: Json) -> Replay:
    """The certificate in Coq. Raises NotExportableError."""
    layers, m_p = certificate["instance"]["layers"], certificate["instance"]["prompt_length"]
    if not isinstance(m_p, int) or m_p > MAX_TOKENS:
        raise NotExportableError(f"a prompt of at most {MAX_TOKENS} tokens", f"one of {m_p}")
    d = len(layers[0]["mlp"]["b_2"]["num"])
    names = [f"layer_{i}" for i in range(1, len(layers) + 1)]
    definitions = [line for name, value in zip(names, layers, strict=True) for line in layer(value, name)]
    definitions.append(f"Definition layers : list (layer Q) := [{'; '.join(names)}].\n")
    factors = listed(certificate["witness"]["factors"], matrix)
    definitions.append(f"Definition factors : list (matrix Q) := {factors}.\n")
    theorem = [
        f"Lemma checked : check_collapse {d} {m_p} layers factors = true.",
        "Proof. vm_compute. reflexivity. Qed.\n",
        "(* All value maps contract, the stack is injective on all tokens, and yet its output at the input token is",
        f"   minus the sum of the {m_p} prompt token(s), whatever the input. *)",
        f"Theorem certificate : is_collapse {d} (map real_layer layers) {m_p}.",
        f"Proof. exact (check_collapse_sound {d} {m_p} layers factors checked). Qed.",
    ]
    return Replay("check_collapse_sound", definitions, theorem)
