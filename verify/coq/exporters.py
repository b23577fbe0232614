"""Which certificates can be written for Coq, and the file around their definitions."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

from verify.coq import collapse, contextual_mapping, unmemorizable_pair
from verify.coq.writing import Json, NotExportableError

__all__ = ["EXPORTABLE", "NotExportableError", "export", "find_exporter"]


@dataclass(frozen=True)
class Exporter:
    """A kind of certificate, the module that writes it, the theorem it is an instance of, the file of its words."""

    claim: str
    relation: str
    module: ModuleType
    theorem: str
    words: str


EXPORTABLE = (
    Exporter("unmemorizable-pair", "no-prompt-memorizes", unmemorizable_pair, "check_pair_sound", "Layer"),
    Exporter("prompted-injectivity", "collapse", collapse, "check_collapse_sound", "Layer"),
    Exporter("contextual-mapping", "distinct-ids", contextual_mapping, "check_distinct_sound", "ContextualMapping"),
    Exporter("contextual-mapping", "collision", contextual_mapping, "check_collision_sound", "ContextualMapping"),
)


def find_exporter(certificate: Json) -> Exporter:
    """The exporter of a certificate. Raises NotExportableError."""
    claim, relation = certificate["claim"], certificate["relation"]
    for exporter in EXPORTABLE:
        if (exporter.claim, exporter.relation) == (claim, relation):
            return exporter
    kinds = ", ".join(f"{e.claim} ({e.relation})" for e in EXPORTABLE)
    raise NotExportableError(kinds, f"{claim} ({relation})")


def export(certificate: Json, name: str) -> str:
    """The text of the file ``name``.v. Raises NotExportableError, and KeyError and its like on what is no certificate.

    The file is to be compiled with ``coqc -Q formal PromptCert NAME.v``, formal being the compiled library.
    """
    exporter = find_exporter(certificate)
    definitions, theorem = exporter.module.proof(certificate)
    head = f"""\
(* coqc -Q formal PromptCert {name}.v        (formal: promptcert's Coq library, built with make formal)

   A certificate of promptcert: claim {exporter.claim}, relation {exporter.relation},
   sha256 {certificate["sha256"]}.

   To compare with the certificate: the numbers of the instance, which stand here as they stand there (integers over
   one denominator), and the statement of the theorem certificate at the end, in the words of formal/{exporter.words}.v.
   The witness need not be compared: Coq checks what it is good for. *)

From Coq Require Import List ZArith QArith.
From PromptCert Require Import {" ".join(exporter.module.IMPORTS)}.
Import ListNotations.
Open Scope Z_scope.
"""
    text = [head, "(* The instance, then the witness. *)", *definitions, *theorem, "", "Print Assumptions certificate."]
    return "\n".join(text) + "\n"
