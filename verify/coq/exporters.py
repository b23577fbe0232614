"""Which certificates can be written for Coq, and the file around their definitions."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

from verify.coq import collapse, contextual_mapping, unmemorizable_pair
from verify.coq.writing import Json, NotExportableError, Replay

__all__ = ["EXPORTABLE", "NotExportableError", "export", "find_exporter"]


@dataclass(frozen=True)
class Exporter:
    """A kind of certificate, the module that writes it, and the file of the words of its theorem."""

    claim: str
    relation: str
    module: ModuleType
    words: str


EXPORTABLE = (
    Exporter("unmemorizable-pair", "no-prompt-memorizes", unmemorizable_pair, "Layer"),
    Exporter("prompted-injectivity", "collapse", collapse, "Layer"),
    Exporter("contextual-mapping", "distinct-ids", contextual_mapping, "ContextualMapping"),
    Exporter("contextual-mapping", "collision", contextual_mapping, "ContextualMapping"),
)


def find_exporter(certificate: Json) -> Exporter:
    """The exporter of a certificate. Raises NotExportableError."""
    claim, relation = certificate["claim"], certificate["relation"]
    for exporter in EXPORTABLE:
        if (exporter.claim, exporter.relation) == (claim, relation):
            return exporter
    kinds = ", ".join(f"{e.claim} ({e.relation})" for e in EXPORTABLE)
    raise NotExportableError(kinds, f"{claim} ({relation})")


def export(certificate: Json, name: str) -> tuple[str, str]:
    """The text of the file ``name``.v, and the theorem of the library that it applies.

    The file is to be compiled with ``coqc -Q formal PromptCert NAME.v``, formal being the compiled library. Raises
    NotExportableError, and KeyError and its like on what is no certificate.
    """
    exporter = find_exporter(certificate)
    replay: Replay = exporter.module.replay(certificate)
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
    body = ["(* The instance, then the witness. *)", *replay.definitions, *replay.proof, ""]
    return "\n".join([head, *body, "Print Assumptions certificate."]) + "\n", replay.theorem
