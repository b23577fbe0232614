"""What a file is that is no certificate: the kernel knows certificates only, and people hand it our other files."""

from __future__ import annotations

from constructions.checkpoints.naming import MAPPING_FORMAT
from constructions.files import DATA_FORMAT, MODEL_FORMAT, PROMPT_FORMAT
from verify import formats
from verify.certificate import read_sealed
from verify.commands import show_counterexample, show_record
from verify.counterexample import read_counterexample
from verify.target_record import read_record

PLAIN = {
    MODEL_FORMAT: "a model: promptcert decide, floor, compare and depth read it",
    DATA_FORMAT: "a dataset: promptcert decide, floor and compare read it, behind a model",
    PROMPT_FORMAT: "a prompt, as promptcert decide, floor and universality write one",
    MAPPING_FORMAT: "names of a checkpoint's weights: promptcert inspect reads it with --mapping",
    formats.REPORT: "the report of an audit: the certificates lie beside it in certificates/",
    formats.EXPERIMENTS: "the results of experiments: the certificates lie beside it in certificates/",
}


def sentence(path: str) -> str | None:
    """What the file is, if it is one of ours; None for any other."""
    if (record := read_record(path)) is not None:
        return show_record.sentence(record)
    if (found := read_counterexample(path)) is not None:
        return show_counterexample.sentence(found)
    return next((what for name, what in PLAIN.items() if read_sealed(path, name) is not None), None)
