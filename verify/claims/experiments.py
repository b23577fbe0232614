"""Claim: gradient descent over prompts stays on or above the certified curve, while a low-rank update and all weights
reach zero (THEORY section 8). Sampled: a run proves nothing, so the expected verdict is undecided."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

from constructions.experiments.comparison import Interval, Level, curve, reached
from constructions.experiments.training import LENGTHS, Method, Plan, Run, trainee
from constructions.single_layer.low_rank import triangular_update
from constructions.verdict import Evidence, Verdict
from verify.certificate import Certificate
from verify.claims.claim import Case, CaseResult, Claim, Settings
from verify.claims.low_rank_memorization import triangular_certificate
from verify.claims.prompt_law import loss_certificate
from verify.kernel_process import DisagreementError, accepted

SLUG = "experiments"


def demand_not_below(run: Run, levels: Sequence[Level], found: Interval) -> Level:
    """The level of a trained prompt's length. Raises DisagreementError when all of the enclosure of its loss is below
    the certified bound."""
    level = next(level for level in levels if level.length == run.length)
    floor = level.floor(run)
    if found.is_below(floor):
        raise DisagreementError(
            f"{run.name}: trained to a loss of at most {float(found.upper):.12g}, certified is at least "
            f"{float(floor):.12g}"
        )
    return level


def plan_of(settings: Settings) -> Plan:
    """A small experiment; the full one is ``promptcert experiments``."""
    if settings.thorough:
        return Plan(seed=settings.seed, lengths=LENGTHS[::2], restarts=1, steps=2000)
    return Plan(datasets=1, seed=settings.seed, lengths=(1, 4, 16), restarts=1, steps=200)


@lru_cache(maxsize=8)
def _certified(plan: Plan, number: int) -> list[Level]:
    """The curve of a dataset, accepted by the kernel."""
    subject = trainee(plan, number)
    levels = curve(subject, plan.lengths)
    _accepted([loss_certificate(subject.model, level.bounds) for level in levels])
    return levels


def _accepted(certificates: Sequence[Certificate]) -> None:
    with TemporaryDirectory(prefix="promptcert-") as folder:
        paths = [Path(folder) / f"{k}.json" for k in range(len(certificates))]
        for path, certificate in zip(paths, certificates, strict=True):
            certificate.write(path)
        accepted(paths)


def _prompts(plan: Plan, number: int, method: Method) -> CaseResult:
    subject, levels = trainee(plan, number), _certified(plan, number)
    excess: list[float] = []
    runs = [run for run in plan.runs() if run.dataset == number and run.method == method]
    for run in runs:
        for descent in subject.train(run, plan):
            found = reached(subject, run, descent.point)
            excess.append(float(found.upper / demand_not_below(run, levels, found).floor(run)) - 1)
    summary = (
        f"{len(excess)} trained prompts of {min(plan.lengths)} to {max(plan.lengths)} tokens: none is below the "
        f"certified bound of its length, the nearest is {100 * min(excess):.2g}% above it"
    )
    measured = {"trained_prompts": len(excess), "nearest_above_bound": float(f"{min(excess):.6g}")}
    return CaseResult(Verdict.UNDECIDED, Evidence.SAMPLED, summary, measured=measured)


def _weights(plan: Plan, number: int) -> CaseResult:
    """The update that memorizes exactly exists, by the kernel; training goes the same way."""
    subject = trainee(plan, number)
    update = triangular_update(subject.model.layers[0], subject.queries)
    _accepted([triangular_certificate(subject.model, subject.queries, update)])
    runs = [run for run in plan.runs() if run.dataset == number and run.length is None]
    losses: dict[str, float] = {}
    for run in runs:
        loss = min(float(reached(subject, run, descent.point).upper) for descent in subject.train(run, plan))
        losses[run.method] = float(f"{min(loss, losses.get(run.method, loss)):.6g}")
    told = ", ".join(f"{method} {loss:.2g}" for method, loss in losses.items())
    summary = f"least loss after {plan.steps} steps: {told}; an update with loss 0 exists"
    return CaseResult(Verdict.UNDECIDED, Evidence.SAMPLED, summary, measured={"least_loss": losses})


def cases(settings: Settings) -> list[Case]:
    plan = plan_of(settings)
    found = []
    for number in range(plan.datasets):
        found += [
            Case(f"prompts-before-mlp-dataset-{number}", partial(_prompts, plan, number, "prompt-attention")),
            Case(f"prompts-outputs-dataset-{number}", partial(_prompts, plan, number, "prompt-output")),
            Case(f"weights-dataset-{number}", partial(_weights, plan, number)),
        ]
    return found


CLAIM = Claim(
    slug=SLUG,
    title="Experiments",
    statement=(
        "On random pairs that no prompt memorizes, gradient descent over prompts ends on or above the certified least "
        "loss of their length, while a low-rank update of the MLP and all weights reach zero."
    ),
    source="THEORY section 8 (cf. Wang et al. 2023, section 7)",
    scope="nothing, these runs are samples; the bounds beside them are certificates of prompt-law",
    cases=cases,
    expected=Verdict.UNDECIDED,
    depends=("unmemorizable-pair", "prompt-law", "low-rank-memorization"),
)
