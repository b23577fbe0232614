"""What is fuzzed, and what must hold of its answer: the kernel, and the readers of model, data, prompt, record and
counterexample files."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import random
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
for folder in (ROOT, HERE, *(ROOT / "tests" / part for part in ("mutation", "prompt_law", "kernel")),
               ROOT / "verify" / "kernel"):  # fmt: skip
    if str(folder) not in sys.path:
        sys.path.append(str(folder))

import depth_oracle  # noqa: E402
import length_oracle  # noqa: E402
from fuzz_mutants import Json, Raw, bytes_mutant, from_schema, places, remember, structure_mutant, written  # noqa: E402

from constructions.documents import InputError  # noqa: E402
from constructions.files import (  # noqa: E402
    data_json,
    model_json,
    prompt_json,
    read_data,
    read_model,
    read_prompt,
)
from verify.cli import main as promptcert  # noqa: E402
from verify.counterexample import FormatError, demand_counterexample, read_counterexample  # noqa: E402
from verify.target_record import RecordError, demand_record, read_record  # noqa: E402

SEALED = "sealed again"


def _by_path(name: str, path: Path) -> Any:
    """A module by its file: the tests have more than one of some names."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


mutations = _by_path("fuzz_mutation_campaign", ROOT / "tests" / "mutation" / "campaign.py")
truth = mutations.truth


@dataclass(frozen=True)
class Input:
    """One input: its target, how it was made, its bytes; for a certificate, the good one that it comes from."""

    target: str
    kind: str
    data: bytes
    source: int = -1


@dataclass(frozen=True)
class Outcome:
    """What the target said; ``wrong`` says what should not have happened."""

    verdict: str
    where: str = ""
    wrong: str = ""


@dataclass
class Pool:
    """Good files of every target, as documents and as bytes."""

    documents: dict[str, list[Json]] = field(default_factory=dict)
    files: dict[str, list[bytes]] = field(default_factory=dict)
    schemas: dict[str, Json] = field(default_factory=dict)

    def add(self, target: str, documents: list[Json]) -> None:
        self.documents[target] = documents
        remember(documents)
        self.files[target] = [written(document).encode() + b"\n" for document in documents]


@cache
def pool(most_bytes: int = 2500) -> Pool:
    """Small certificates of every claim, and the example files of the documentation."""
    made = Pool()
    vectors = json.loads((ROOT / "docs" / "conformance" / "vectors.json").read_text(encoding="utf-8"))
    good = [json.loads(vector["file"]) for vector in vectors["certificates"] if vector["verdict"] == "true"]
    mine = [*good, *mutations.pool(0)]
    made.add("kernel", [document for document in mine if len(written(document)) <= most_bytes])
    paths = sorted((ROOT / "docs" / "examples").glob("*.json"))
    examples = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    for target in ("model", "data"):
        made.add(target, [x for x in examples if x.get("format") == f"promptcert-{target}/1"])
    made.add("prompt", [{"format": "promptcert-prompt/1", "P": [[1, "1/2"], [3, -4]], "radius": "1/8"}])
    made.add("record", [target_record()])
    made.add("counterexample", [sealed_counterexample()])
    for target, name in (("model", "model"), ("data", "data"), ("prompt", "prompt"), ("record", "target"),
                         ("counterexample", "counterexample"), ("kernel", "certificate")):  # fmt: skip
        path = ROOT / "verify" / "schemas" / f"{name}.schema.json"
        made.schemas[target] = json.loads(path.read_text(encoding="utf-8"))
    return made


def target_record() -> Json:
    """The record of one target, as `promptcert universality` writes it."""
    with tempfile.TemporaryDirectory(prefix="promptcert-fuzz-") as name, redirect_stdout(io.StringIO()):
        code = promptcert(["universality", "--target=x", "--lipschitz=1", "--p=1", "--eps=1/4", "--out", name])
        assert code == 0
        record: Json = json.loads((Path(name) / "universality-target.json").read_text(encoding="utf-8"))
        return record


def sealed_counterexample() -> Json:
    """Something in the shape of a counterexample, made from its schema."""
    path = ROOT / "verify" / "schemas" / "counterexample.schema.json"
    schema = json.loads(path.read_text(encoding="utf-8"))
    return sealed(from_schema(random.Random("counterexample"), schema, schema))


def sealed(document: Json) -> Json:
    """With the hash of what it says, so that what follows the hash check is reached."""
    bare = {key: part for key, part in document.items() if key != "sha256"}
    return {**bare, "sha256": hashlib.sha256(written(bare).encode("utf-8", "surrogatepass")).hexdigest()}


def make(rng: random.Random, target: str) -> Input:
    """One input for a target."""
    good = pool()
    source = rng.randrange(len(good.documents[target]))
    kind = rng.choices(["bytes", "structure", "field", "schema"], [5, 4, 1 if target == "kernel" else 0, 1])[0]
    if kind == "bytes":
        return Input(target, kind, bytes_mutant(rng, good.files[target][source], good.files[target]), source)
    if kind == "field":
        document = single_field(rng, good.documents[target][source])
    elif kind == "structure":
        document = structure_mutant(rng, good.documents[target][source], good.documents[target])
    else:
        document, source = from_schema(rng, good.schemas[target], good.schemas[target]), -1
    if target in ("kernel", "record", "counterexample") and isinstance(document, dict) and rng.random() < 0.97:
        document, kind = sealed(document), f"{kind}, {SEALED}"
    return Input(target, kind, written(document).encode("utf-8", "surrogatepass") + b"\n", source)


def single_field(rng: random.Random, document: Json) -> Json:
    """The mutation campaign's own change of one field."""
    found = places(document)
    for _ in range(20):
        kind = rng.choice(sorted(mutations.KINDS))
        fits, change = mutations.KINDS[kind]
        spots = [place for place, part in found if fits(place, part)]
        if spots:
            place = rng.choice(spots)
            new = change(rng, mutations.at(document, place))
            if new is not mutations.NOT_GIVEN:
                return mutations.changed(document, place, new)
    return document


# --- the kernel --------------------------------------------------------------------------------------------------


def kernel(given: Input) -> Callable[[Callable[[], None]], Outcome]:
    """The kernel's answer, in this process. What it accepts must be true: by the second evaluations of the tests where
    they know the claim; because the statement is that of a good certificate; or nobody can say."""

    def run(stop_clock: Callable[[], None]) -> Outcome:
        import limits
        import verdict

        limits.DEADLINE.start()
        try:
            verdict.prove(given.data)
        except limits.NotACertificate as error:
            return Outcome("not a certificate", _stage(str(error)))
        except limits.Refuted as error:
            return Outcome("false", _stage(str(error)))
        except limits.OverLimits as error:
            return Outcome("over limits", _stage(str(error)))
        except (MemoryError, RecursionError) as error:
            return Outcome("over limits", type(error).__name__)
        except Exception as error:
            return Outcome("failed", wrong=f"{type(error).__name__}: {error}")
        stop_clock()
        return _accepted(given)

    return run


def _stage(message: str) -> str:
    """Where it was rejected: the part of the file, or the first words of the condition."""
    place = message.split(":")[0]
    if place.startswith("byte"):
        return "text"
    for part in ("instance", "witness", "toolkit", "claim", "evidence", "relation", "format", "file"):
        if place.startswith(part):
            return part
    return "hash" if "sha256" in message else "condition"


def _accepted(given: Input) -> Outcome:
    document = json.loads(given.data)
    if sealed(document) != document or written(document).encode() + b"\n" != given.data:
        return Outcome("true", wrong="accepted, but not canonical or not sealed")
    claim = document["claim"]
    if given.source >= 0:
        source = pool().documents["kernel"][given.source]
        if all(source[part] == document[part] for part in ("claim", "relation", "instance")):
            return Outcome("true", "the statement of a good certificate")
    if not _has_second_opinion(given.source):
        return Outcome("true", "another statement, no second opinion")
    try:
        fine = second_opinion(document) or sharper_opinion(document)
    except (truth.UnsureError, MemoryError, OverflowError):  # a length of 2^40 is an array there, and 2^2000 no float
        return Outcome("true", "the second evaluation is unsure")
    except Exception as error:
        return Outcome("true", wrong=f"{claim}: second evaluation failed: {type(error).__name__}: {error}")
    return Outcome("true", "true by a second evaluation", "" if fine else f"{claim}: false by the second evaluation")


def second_opinion(document: Json) -> bool:
    """Whether a certificate is true, by evaluations that share nothing with the kernel. Raises KeyError and others for
    one of a kind that they do not know."""
    claim = document["claim"]
    if claim in truth.CLAIMS:
        return bool(truth.witness_holds(document) and truth.relation_holds(document))
    if claim in ("prompt-length-bound", "low-rank-memorization"):
        return bool(length_oracle.holds(document))
    return bool(depth_oracle.holds(document))


def sharper_opinion(document: Json) -> bool:
    """Once more with balls of 20000 bits: their 500 are too few where an entry alone has a thousand."""
    named = [module for name, module in sys.modules.items() if name.startswith("mutation_")]
    sharpened: list[Any] = [module for module in named if hasattr(module, "BITS")]
    before = [module.BITS for module in sharpened]
    try:
        for module in sharpened:
            module.BITS = 20_000
        return second_opinion(document)
    finally:
        for module, bits in zip(sharpened, before, strict=True):
            module.BITS = bits


@cache
def _has_second_opinion(source: int) -> bool:
    try:
        return source >= 0 and second_opinion(pool().documents["kernel"][source])
    except Exception:
        return False


# --- the readers -------------------------------------------------------------------------------------------------


def exact(value: Json) -> Fraction:
    """A number of our files, by the standard library's own rules for fractions."""
    text = str(value)
    return Fraction(text.strip()) if "e" not in text.lower() else Fraction(*_decimal(text))


def _decimal(text: str) -> tuple[int, int]:
    from decimal import Context, Decimal

    return Decimal(text.strip(), Context(prec=20_000, Emin=-(10**6), Emax=10**6)).as_integer_ratio()


def numbers(value: Json) -> Json:
    """A document with fractions for numbers, so that two of them can be compared."""
    if isinstance(value, dict):
        return {key: numbers(part) for key, part in value.items()}
    if isinstance(value, list):
        return [numbers(part) for part in value]
    if isinstance(value, bool) or value is None:
        return value
    try:
        return exact(value)
    except (ValueError, ArithmeticError):
        return value


READERS: dict[str, tuple[Callable[..., Any], Callable[[Any], Json] | None]] = {
    "model": (read_model, model_json),
    "data": (read_data, data_json),
    "prompt": (read_prompt, prompt_json),
    "record": (read_record, None),
    "counterexample": (read_counterexample, None),
}


def reader(given: Input, folder: Path) -> Callable[[Callable[[], None]], Outcome]:
    """The answer of the reader of a file. What it reads must be what is written there, by another reading."""
    read, write = READERS[given.target]
    path = folder / "input.json"

    def run(stop_clock: Callable[[], None]) -> Outcome:
        path.write_bytes(given.data)
        try:
            value = read(path)
        except InputError as error:
            text = str(error)
            if "\n" in text or not text.startswith(str(path)) or len(text) > 1000:
                return Outcome("refused", wrong=f"not one line that names the file: {text[:200]!r}")
            return Outcome("refused", "text" if "JSON" in text else "content")
        except Exception as error:
            return Outcome("failed", wrong=f"{type(error).__name__}: {error}")
        stop_clock()
        if write is None:
            return _told(given, value)
        again = write(value)
        path.write_text(json.dumps(again), encoding="utf-8")
        if write(read(path)) != again:
            return Outcome("read", wrong="written and read again it is another")
        said = numbers(json.loads(given.data, parse_float=str, parse_int=str))
        wrong = _differs(said, numbers(json.loads(json.dumps(again), parse_float=str, parse_int=str)), given.target)
        return Outcome("read", wrong=wrong)

    return run


def _told(given: Input, value: Json) -> Outcome:
    """What `promptcert show` asks of a record or a counterexample before it tells it."""
    if value is None:
        return Outcome("refused", "not such a file")
    demand = {"record": demand_record, "counterexample": demand_counterexample}[given.target]
    try:
        demand(value)
    except (RecordError, FormatError) as error:
        return Outcome("refused", "content", "" if "\n" not in str(error) else "not one line")
    except Exception as error:
        return Outcome("failed", wrong=f"{type(error).__name__}: {error}")
    return Outcome("read", wrong="" if json.loads(given.data) == value else "read as another")


def _differs(said: Json, read: Json, target: str) -> str:
    """Whether what was read says the same wherever the file says anything."""
    for place, part in places(said):
        if isinstance(part, dict | list):
            continue
        where: Json = read
        try:
            for key in place:
                where = where[key]
        except (KeyError, IndexError, TypeError):
            if target == "data" and "Y" in place and _one_token(said, place):
                continue  # a table of one column is written as the vector y
            if target == "model" and (part is None or _stands_for_default(place, part)):
                continue
            return f"{place}: {part} is not there"
        if where != part:
            return f"{place}: {part} was read as {where}"
    return ""


def _one_token(said: Json, place: tuple[Any, ...]) -> bool:
    return len(said[place[0]][place[1]]["Y"][0]) == 1


def _stands_for_default(place: tuple[Any, ...], part: Json) -> bool:
    """A zero bias of an MLP that is not there."""
    return place[-2] == "b_2" and part == 0


TARGETS = ("kernel", *READERS)


def ask(given: Input, folder: Path) -> Callable[[Callable[[], None]], Outcome]:
    return kernel(given) if given.target == "kernel" else reader(given, folder)


__all__ = ["SEALED", "TARGETS", "Input", "Outcome", "Raw", "ask", "make", "pool", "sealed", "written"]
