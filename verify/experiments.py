"""The experiments: certified curves, training runs kept as they finish, and the comparison of the two.

What a run has trained is kept in floats; whenever results are put together, each point is evaluated again as the
rational numbers that its floats are, in balls, and set against a curve that the kernel has accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from flint import fmpq

from constructions.documents import write_json
from constructions.experiments.comparison import Interval, Level, curve, reached
from constructions.experiments.prompt_loss import Array
from constructions.experiments.training import Plan, Run, Trainee, trainee
from constructions.files import data_json, model_json
from constructions.numbers.rational import decimal, rational
from constructions.single_layer.low_rank import triangular_update
from verify import formats
from verify.certificate import Certificate, toolkit
from verify.claims import low_rank_memorization, unmemorizable_pair
from verify.claims.experiments import demand_not_below
from verify.claims.prompt_law import loss_certificate
from verify.kernel_process import accepted, kernel_sha256
from verify.resumable import in_processes, keep, kept, output_folder, run_key

RESULT = "experiments.json"
ZERO = fmpq(1, 10**12)
"""A trained loss of at most this much counts as zero: floats go no further than their rounding."""
Record = dict[str, Any]


def experiments(
    plan: Plan,
    *,
    out: Path | None = None,
    jobs: int = 1,
    resume: bool = False,
    on_progress: Callable[[int, int, str], None] = lambda done, total, name: None,
) -> Record:
    """Everything that ``plan`` asks for; the result as a JSON object (schema: verify/schemas/experiments.schema.json).

    With ``out``, certificates, models, data, finished runs and ``experiments.json`` are written there; ``resume``
    reuses the finished runs of the same code and plan. Raises DisagreementError when a trained point lies below the
    certified curve, or the kernel does not accept a certificate; InputError when ``out`` cannot be written.
    """
    runs = list(plan.runs())
    total = len(runs) + plan.datasets
    key = run_key(plan)
    with output_folder(out, ("certificates", "data", "runs")) as folder:
        levels: list[list[Level]] = []
        datasets: list[Record] = []
        for number in range(plan.datasets):
            on_progress(number, total, f"dataset {number}: certified curve")
            subject = trainee(plan, number)
            levels.append(curve(subject, [*plan.lengths, None]))
            datasets.append(_dataset(number, subject, levels[-1], folder))
        points: dict[Run, Array] = {}
        for run in runs:
            found = _kept_points(folder, key, run, plan) if resume else None
            if found is not None:
                points[run] = found
        missing = [run for run in runs if run not in points]
        done = total - len(missing)
        on_progress(done, total, "training")
        for run, trained in _train_all(missing, plan, folder, key, jobs):
            points[run] = trained
            done += 1
            on_progress(done, total, run.name)
        for run in runs:
            subject = trainee(plan, run.dataset)
            for descent, point in zip(plan.descents(run), points[run], strict=True):
                datasets[run.dataset]["runs"].append(checked(run, descent, subject, levels[run.dataset], point))
        result = {
            "format": formats.EXPERIMENTS,
            "verdict": "undecided",
            "as_expected": all(reached_zero(dataset) for dataset in datasets),
            "seed": plan.seed,
            "steps": plan.steps,
            "datasets": datasets,
            "toolkit": toolkit(),
            "kernel_sha256": kernel_sha256(),
        }
        if out is not None:
            write_json(folder / RESULT, result)
    return result


def checked(run: Run, descent: tuple[int, float], subject: Trainee, levels: list[Level], point: Array) -> Record:
    """What one descent of a run has reached, as a record. Raises DisagreementError for a point below the certified
    curve."""
    found = reached(subject, run, point)
    if run.length is not None:
        demand_not_below(run, levels, found)
    return {
        "method": run.method,
        "prompt_length": run.length,
        "parameters": subject.parameters(run),
        "restart": descent[0],
        "learning_rate": descent[1],
        "loss": _interval(found),
    }


def best(dataset: Record, method: str, length: int | None = None) -> fmpq:
    """The smallest upper end of the losses that a method has reached (with a prompt of this length)."""
    return min(
        rational(run["loss"]["upper"])
        for run in dataset["runs"]
        if run["method"] == method and run["prompt_length"] == length
    )


def reached_zero(dataset: Record) -> bool:
    """Whether the low-rank update and all weights were trained to a loss of zero, up to rounding."""
    return all(best(dataset, method) <= ZERO for method in ("low-rank", "all-weights"))


def _dataset(number: int, subject: Trainee, levels: list[Level], folder: Path) -> Record:
    """Write the dataset's files and certificates, and have the kernel check them."""
    certificates: dict[str, Certificate] = {
        "unmemorizable": unmemorizable_pair.certificate(subject.model, subject.pair.proof),
        "update": low_rank_memorization.triangular_certificate(
            subject.model, subject.queries, triangular_update(subject.model.layers[0], subject.queries)
        ),
    }
    for level in levels:
        certificates[f"floor-{level.length or 'any'}"] = loss_certificate(subject.model, level.bounds)
    paths = {name: f"certificates/dataset-{number}-{name}.cert.json" for name in certificates}
    for name, certificate in certificates.items():
        certificate.write(folder / paths[name])
    accepted([folder / path for path in paths.values()])
    write_json(folder / f"data/dataset-{number}-model.json", model_json(subject.model))
    write_json(folder / f"data/dataset-{number}-data.json", data_json(subject.pair.data))
    return {
        "model": f"data/dataset-{number}-model.json",
        "data": f"data/dataset-{number}-data.json",
        "unmemorizable_certificate": paths["unmemorizable"],
        "update_certificate": paths["update"],
        "curve": [
            {
                "prompt_length": level.length,
                "loss": _interval(Interval(level.bounds.lower, level.bounds.upper)),
                "output_loss": _interval(level.output),
                "certificate": paths[f"floor-{level.length or 'any'}"],
            }
            for level in levels
        ],
        "runs": [],
    }


def _interval(found: Interval) -> Record:
    return {"lower": decimal(found.lower), "upper": decimal(found.upper)}


def _train_all(runs: list[Run], plan: Plan, folder: Path, key: str, jobs: int) -> Iterator[tuple[Run, Array]]:
    work = partial(_train, plan=plan, folder=folder, key=key)
    if min(jobs, len(runs)) <= 1:
        yield from map(work, runs)
    else:
        yield from in_processes([joblib.delayed(work)(run) for run in runs], jobs)


def _train(run: Run, plan: Plan, folder: Path, key: str) -> tuple[Run, Array]:
    points = np.array([descent.point for descent in trainee(plan, run.dataset).train(run, plan)])
    keep(_run_path(folder, run), key, points.tolist())
    return run, points


def _run_path(folder: Path, run: Run) -> Path:
    return folder / "runs" / f"{run.name}.json"


def _kept_points(folder: Path, key: str, run: Run, plan: Plan) -> Array | None:
    """The points of a finished run, one row for each descent; None when there are none that fit this run."""
    try:
        points = np.array(kept(_run_path(folder, run), key), dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    expected = (len(plan.descents(run)), trainee(plan, run.dataset).parameters(run))
    return points if points.shape == expected and np.isfinite(points).all() else None
