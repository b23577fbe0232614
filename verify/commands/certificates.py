"""Writing the certificates of an answer, and having the kernel check them before anything is said."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from constructions.documents import InputError
from constructions.single_layer.decide import Decision
from constructions.single_layer.decide_several import SeveralAnswer
from constructions.single_layer.one_query import decide_one_query
from constructions.transformer import Transformer
from verify.certificate import Certificate
from verify.claims import prompt_law, several_heads, several_queries, unmemorizable_pair
from verify.commands.answer import certificate_path
from verify.kernel_process import DisagreementError, accepted


def decision_certificates(model: Transformer, decision: Decision, length: int | None) -> list[tuple[str, Certificate]]:
    """The certificates of a decision, the one of the verdict first, with the ending of their file names."""
    if decision.proof is not None:
        return [("", unmemorizable_pair.certificate(model, decision.proof))]
    if decision.several is not None:
        return _several(model, decision.several)
    if decision.heads is not None:
        return several_heads.certificates(model, decision.heads)
    group = decision.one_query
    if group is None:
        return []
    if group.possible is None:
        return [("", prompt_law.impossible_certificate(model, group.problem, length, group.impossible))]
    found = [("", prompt_law.memorizable_certificate(model, group.problem, group.possible))]
    if decision.minimal_prompt_length is not None and decision.minimal_prompt_length > 1:
        fewer = decision.minimal_prompt_length - 1
        against = decide_one_query(group.problem, fewer)
        if against.possible is not None or against.undecided is not None:
            raise DisagreementError(f"{fewer} tokens were said to be too few, and now are not")
        found.append(("-shorter", prompt_law.impossible_certificate(model, group.problem, fewer, against.impossible)))
    return found


def _several(model: Transformer, answer: SeveralAnswer) -> list[tuple[str, Certificate]]:
    """Several logit vectors: the refutation, or the point (and prompt), and the length that is too short."""
    if answer.against is not None:
        return [("", several_queries.impossible_certificate(model, answer.against))]
    assert answer.possible is not None
    system, point = answer.possible
    found = [("", several_queries.point_certificate(model, answer.data, system, point))]
    if answer.proved is not None:
        proof = several_queries.prompt_certificate(model, answer.data, system, answer.proved)
        found = [("", proof), ("-point", found[0][1])]
    if answer.too_short is not None:
        found.append(("-shorter", several_queries.impossible_certificate(model, answer.too_short)))
    return found


def write_checked(
    out: Path | None, stem: str, certificates: Sequence[tuple[str, Certificate]]
) -> list[tuple[Path, str]]:
    """Write certificates (given with the endings of their names) and have the kernel check them: paths and sentences.
    Without ``out``, a folder that cannot be written costs only the files, not the answer."""
    paths: list[Path] = []
    for ending, certificate in certificates:
        try:
            path = certificate_path(out, f"{stem}.cert.json")
            if ending:
                path = path.with_name(path.name.removesuffix(".json").removesuffix(".cert") + f"{ending}.cert.json")
            certificate.write(path)
        except InputError as error:
            if out is not None:
                raise
            print(f"no certificate written: {error}", file=sys.stderr)
            return []
        paths.append(path)
    return list(zip(paths, accepted(paths), strict=True))
