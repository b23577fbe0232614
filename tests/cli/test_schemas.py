"""The shipped schemas: well formed, closed, described, and in agreement with what is written and read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from constructions.files import PromptBox, prompt_json, read_prompt
from constructions.numbers.rational import RationalMatrix, rational
from verify.claims.registry import REGISTRY

Json = dict[str, Any]
FOLDER = files("verify") / "schemas"
IDS = {
    "model": "promptcert-model/1",
    "data": "promptcert-data/1",
    "prompt": "promptcert-prompt/1",
    "target": "promptcert-target/1",
    "counterexample": "promptcert-counterexample/1",
    "certificate": "promptcert-certificate/1",
    "audit": "promptcert-report/1",
    "decide": "promptcert-decide/1",
    "floor": "promptcert-floor/1",
    "compare": "promptcert-compare/1",
    "universality": "promptcert-universality/1",
    "constants": "promptcert-constants/1",
    "depth": "promptcert-depth/1",
    "experiments": "promptcert-experiments/1",
    "inspect": "promptcert-inspect/1",
    "check": "promptcert-check/1",
    "show": "promptcert-show/1",
    "export": "promptcert-export/1",
    "doctor": "promptcert-doctor/1",
    "error": "promptcert-error/1",
}


def schema(name: str) -> Json:
    content: Json = json.loads((FOLDER / f"{name}.schema.json").read_text(encoding="utf-8"))
    return content


def objects(part: Any) -> Iterator[Json]:
    """Every subschema with properties of its own."""
    if isinstance(part, dict):
        if isinstance(part.get("properties"), dict) and part.get("type") == "object":
            yield part
        for value in part.values():
            yield from objects(value)
    elif isinstance(part, list):
        for value in part:
            yield from objects(value)


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of every object in a JSON value."""
    if isinstance(value, dict):
        yield path
        for key, item in value.items():
            yield from paths(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from paths(item, (*path, index))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


@pytest.mark.parametrize("name", IDS)
def test_well_formed_described_and_closed(name: str) -> None:
    content = schema(name)
    assert content["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert content["$id"] == IDS[name]
    Draft202012Validator.check_schema(content)
    for part in objects(content):
        assert part["description"], part
        # the numbers sampled beside a proof differ from claim to claim; all else is closed
        open_ended = "adversary_best_loss" in part["properties"]
        assert open_ended or part["additionalProperties"] is False, part
        for field, described in part["properties"].items():
            assert described.get("description"), field
    for definition in content.get("$defs", {}).values():
        assert definition["description"]


def test_every_certificate_is_valid_and_no_field_may_be_added_or_missing(validate, certificates: Path) -> None:
    for path in sorted(certificates.glob("*.json")):
        text = path.read_text(encoding="ascii")
        validate("certificate", json.loads(text))
        for place in paths(json.loads(text)):
            if place != ("toolkit",):
                added = json.loads(text)
                at(added, place)["more"] = 1
                with pytest.raises(ValidationError):
                    validate("certificate", added)
                for field in at(json.loads(text), place):
                    bare = json.loads(text)
                    del at(bare, place)[field]
                    with pytest.raises(ValidationError):
                        validate("certificate", bare)


@pytest.mark.parametrize(
    "number",
    [1 << 53, -(1 << 53), 1.5, "1", "0X1F", "0x", "0x01", "0x1F", "-0x0", "1/2", None, True, [1], "0x1g", "+0x1"],
)
def test_numbers_of_certificates(validate, certificates: Path, number: Any) -> None:
    """What the kernel refuses as an integer, the schema refuses."""
    content = json.loads((certificates / "unmemorizable-pair-cone.json").read_text())
    content["instance"]["queries"][0]["target"]["num"][0] = number
    with pytest.raises(ValidationError):
        validate("certificate", content)


@pytest.mark.parametrize("number", [0, -5, (1 << 53) - 1, "0x0", "-0x1f", "0x20000000000000"])
def test_integers_that_are_allowed(validate, certificates: Path, number: Any) -> None:
    content = json.loads((certificates / "unmemorizable-pair-cone.json").read_text())
    content["instance"]["queries"][0]["target"]["num"][0] = number
    validate("certificate", content)


@pytest.mark.parametrize("den", [0, -1, "0x0", "-0x1", "0x01"])
def test_denominators_are_positive(validate, certificates: Path, den: Any) -> None:
    content = json.loads((certificates / "unmemorizable-pair-cone.json").read_text())
    content["instance"]["queries"][0]["target"]["den"] = den
    with pytest.raises(ValidationError):
        validate("certificate", content)


def test_claims_do_not_mix(validate, certificates: Path) -> None:
    """The instance of one claim is not that of another."""
    seen = {}
    for path in certificates.glob("*.json"):
        content = json.loads(path.read_text())
        seen[content["claim"]] = content
    assert {"attention-split", "direction-lemma", "mlp-injectivity", "unmemorizable-pair"} <= set(seen)
    for slug, content in seen.items():
        for other in set(seen) - {slug}:
            with pytest.raises(ValidationError):
                validate("certificate", {**content, "claim": other})


def test_every_registered_claim_of_this_format_is_listed() -> None:
    listed = set(schema("certificate")["properties"]["claim"]["enum"])
    assert listed >= {"attention-split", "direction-lemma", "mlp-injectivity", "unmemorizable-pair"}
    assert listed <= set(REGISTRY)


def test_written_models_and_data_are_valid(validate, inputs) -> None:
    """What write_json makes of the constructions, and what the tests write by hand."""
    for name in ("contradictory", "cone", "closeness", "out_of_range"):
        model, data = getattr(inputs, name)()
        validate("model", json.loads(model.read_text()))
        validate("data", json.loads(data.read_text()))


def test_prompts(validate, inputs) -> None:
    for radius in (0, "1/3", "0.5", 1e-9, "1e-30"):
        content = {"format": "promptcert-prompt/1", "P": [[1, "1/2"], [0.5, -3]], "radius": radius}
        validate("prompt", content)
        box = read_prompt(inputs.write("prompt.json", content))
        assert box.radius == rational(str(radius))
        validate("prompt", prompt_json(box))
    bare = {"format": "promptcert-prompt/1", "P": [[1]]}
    validate("prompt", bare)
    assert read_prompt(inputs.write("prompt.json", bare)) == PromptBox(RationalMatrix.of([[1]]), rational(0))


@pytest.mark.parametrize(
    "change",
    [{"radius": -1}, {"radius": "-1/2"}, {"radius": "-0.001"}, {"P": []}, {"P": [[]]}, {"P": [["x"]]}, {"X": 1}],
)
def test_bad_prompts(validate, inputs, change: Json) -> None:
    from constructions.documents import InputError

    content = {"format": "promptcert-prompt/1", "P": [[1]], **change}
    with pytest.raises(ValidationError):
        validate("prompt", content)
    with pytest.raises(InputError, match=r"^prompt\.json: "):
        read_prompt(inputs.write("prompt.json", content).name)


@pytest.mark.parametrize("text", [" 1/2 ", "+3", "-0.5", "1E-3", "007", "2/4", "-1/3", "0/1"])
def test_number_strings_that_reader_and_schema_take(validate, inputs, text: str) -> None:
    content = {"format": "promptcert-prompt/1", "P": [[text]]}
    validate("prompt", content)
    assert read_prompt(inputs.write("prompt.json", content)).P[0, 0] == rational(text.strip())


@pytest.mark.parametrize(
    "text", ["", " ", ".5", "5.", "1e", "1/2/3", "1 /2", "1e5/2", "--1", "1_000", "∞", "0x1", "1/0"]
)
def test_number_strings_that_reader_and_schema_refuse(validate, inputs, text: str) -> None:
    from constructions.documents import InputError

    content = {"format": "promptcert-prompt/1", "P": [[text]]}
    with pytest.raises(ValidationError):
        validate("prompt", content)
    with pytest.raises(InputError, match=r"P\[0\]\[0\]"):
        read_prompt(inputs.write("prompt.json", content))


def test_decide_documents_are_consistent(validate) -> None:
    """An undecided answer has no argument and no certificate, a decided one has an argument."""
    undecided = {
        "verdict": "undecided",
        "argument": None,
        "reason": "why",
        "infimum": None,
        "minimal_prompt_length": None,
        "without_prompt": None,
        "certificate": None,
        "further_certificates": [],
        "prompt": None,
    }
    validate("decide", undecided)
    decided = {**undecided, "verdict": "unmemorizable", "argument": "cone", "certificate": "a.json"}
    validate("decide", decided)
    for wrong in ({**undecided, "argument": "cone"}, {**undecided, "certificate": "a"}, {**decided, "argument": None}):
        with pytest.raises(ValidationError):
            validate("decide", wrong)


def newer_certificates() -> Iterator[Any]:
    """Small certificates of every relation of the claims about prompt length and low-rank updates."""
    import random

    from constructions.data import Dataset, Example
    from constructions.single_layer import prompt_length as length
    from constructions.single_layer.low_rank import solve_rational, triangular_update
    from constructions.single_layer.preimage import preimage
    from verify.claims import low_rank_memorization as rank
    from verify.claims import prompt_length_bound as bound

    yield bound.tight_certificate(length.prove_tight(length.tight_dataset(2, 2)))
    two = length.one_token_two_heads()
    yield bound.independent_certificate(two, length.prove_independent(two))
    yield bound.prompt_certificate(*length.naive_dataset(2, 2))
    model, data = length.empty_bound_dataset()
    queries = list(data.queries(model))
    found = length.too_short(model.layers[0], queries, [preimage(model.layers[0].mlp, q.target) for q in queries])
    assert found is not None
    yield bound.too_short_certificate(model, found)
    model, data = rank.equal_scores(2, 2, 0)
    queries = list(data.queries(model))
    update = triangular_update(model.layers[0], queries)
    yield rank.triangular_certificate(model, queries, update)
    solved = solve_rational(update, queries)
    assert solved is not None
    yield rank.updated_certificate(model, queries, solved)
    model, _ = rank.random_data(random.Random(0), 1, 1, 1)
    X = RationalMatrix.of([[1, 2]])
    twice = Dataset((Example(X, RationalMatrix.of([[1]])), Example(X, RationalMatrix.of([[2]]))))
    yield rank.impossible_certificate(model, list(twice.queries(model)), 0, 1)


def test_newer_certificates_are_valid_and_closed(validate) -> None:
    """As far as the schema goes: it says of a witness only which fields it has."""
    relations = set()
    for certificate in newer_certificates():
        document = certificate.document()
        relations.add(document["relation"])
        validate("certificate", document)
        for place in paths(document):
            if place != ("toolkit",) and (place[:1] != ("witness",) or len(place) == 1):
                added = json.loads(json.dumps(document))
                at(added, place)["more"] = 1
                with pytest.raises(ValidationError):
                    validate("certificate", added)
                for field in at(document, place):
                    bare = json.loads(json.dumps(document))
                    del at(bare, place)[field]
                    with pytest.raises(ValidationError):
                        validate("certificate", bare)
    assert relations == {"tight", "independent", "prompt", "too-short", "triangular-update", "updated", "impossible"}
