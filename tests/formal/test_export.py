"""``promptcert export``: certificates as Coq files, number for number; all else is refused in one line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from verify.certificate import canonical, seal
from verify.claims import Settings
from verify.claims.formal import lemmas_of
from verify.claims.registry import REGISTRY
from verify.cli import main
from verify.coq import EXPORTABLE, export

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
CASES = {
    "point": ("unmemorizable-pair", "cone-d2-mlp2"),
    "heads": ("unmemorizable-pair", "cone-d4-heads2"),
    "tree": ("unmemorizable-pair", "cone-several-preimages"),
    "closeness": ("unmemorizable-pair", "closeness-degenerate-d2"),
    "empty": ("unmemorizable-pair", "out-of-range"),
    "collapse": ("prompted-injectivity", "collapse"),
    "distinct": ("contextual-mapping", "d1-m1-k2"),
    "collision": ("contextual-mapping", "shift-too-small"),
}

THEOREMS = {
    **dict.fromkeys(("point", "heads", "tree", "closeness", "empty"), "check_pair_sound"),
    "collapse": "check_collapse_sound",
    "distinct": "check_bound_sound",
    "collision": "check_collision_sound",
}


@pytest.fixture(scope="module")
def certificates() -> dict[str, Json]:
    from functools import partial

    from verify import search

    with pytest.MonkeyPatch.context() as patch:
        for slug in ("unmemorizable_pair", "prompted_injectivity"):
            module = __import__(f"verify.claims.{slug}", fromlist=["x"])
            if hasattr(module, "adversary"):
                patch.setattr(module, "adversary", partial(_short_attack, search.adversary))
        made = {}
        for name, (slug, case) in CASES.items():
            check = next(c.check for c in REGISTRY[slug].cases(Settings()) if c.name == case)
            certificate = check().certificate
            assert certificate is not None
            made[name] = certificate.document()
        return made


def _short_attack(attack: Callable[..., Any], model: Any, data: Any, **_: Any) -> Any:
    return attack(model, data, lengths=[1], restarts=1, max_iterations=2)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    monkeypatch.chdir(tmp_path)

    def call(content: Json | str, *options: str, name: str = "cert.json") -> tuple[int, str, str]:
        text = content if isinstance(content, str) else canonical(content) + "\n"
        Path(name).write_text(text, encoding="utf-8")
        capsys.readouterr()
        code = main(["export", "--coq", name, *options])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def numbers(value: Any) -> Iterator[str]:
    """All integers below ``num`` and ``den``, as they are spelled."""
    if isinstance(value, dict):
        for item in value.values():
            yield from numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, int | str) and not isinstance(value, bool) and re.fullmatch(r"-?(0x)?[0-9a-f]+", str(value)):
        yield str(value)


@pytest.mark.parametrize("name", CASES)
def test_a_file_has_every_number_of_the_instance_and_the_theorem(
    name: str, certificates: dict[str, Json], run: Callable[..., Any]
) -> None:
    code, out, err = run(certificates[name])
    text = Path("cert.v").read_text(encoding="utf-8")
    assert (code, err) == (0, "")
    assert "kernel: true" in out
    assert certificates[name]["sha256"] in text
    assert set(numbers(certificates[name]["instance"])) <= set(re.findall(r"-?(?:0x)?[0-9a-f]+", text))
    assert (
        text.index("Lemma checked") < text.index("Theorem certificate") < text.index("Print Assumptions certificate.")
    )
    assert text.count("(*") == text.count("*)")
    for opening, closing in ("()", "[]"):
        assert text.count(opening) == text.count(closing)


def test_the_instance_is_written_as_it_stands(certificates: dict[str, Json]) -> None:
    layer = certificates["point"]["instance"]["layer"]
    value = layer["heads"][0]["W_v"]
    rows = "; ".join("[" + "; ".join(map(str, row)) + "]" for row in value["num"])
    assert f"(matrix_over {value['den']} [{rows}]) (* W_v *)" in export(certificates["point"], "x")[0]


def test_long_numbers_stay_hexadecimal(certificates: dict[str, Json]) -> None:
    changed = json.loads(canonical(certificates["point"]))
    changed["instance"]["queries"][0]["target"] = {"den": "0x80000000000000", "num": ["-0x7fffffffffffff", 1]}
    assert "(vector_over 0x80000000000000 [-0x7fffffffffffff; 1])" in export(changed, "x")[0]


def test_json(certificates: dict[str, Json], run: Callable[..., Any]) -> None:
    schema = json.loads((files("verify") / "schemas" / "export.schema.json").read_text(encoding="utf-8"))
    for name, content in certificates.items():
        code, out, _ = run(content, "--format", "json", name=f"{name}.cert.json")
        document = json.loads(out)
        Draft202012Validator(schema).validate(document)
        assert (code, document["coq"], document["kernel"]) == (0, f"{name}.v", "true")
        assert (document["claim"], document["theorem"]) == (content["claim"], THEOREMS[name])


def test_a_false_certificate_is_written_and_told(certificates: dict[str, Json], run: Callable[..., Any]) -> None:
    changed = json.loads(canonical(certificates["point"]))
    changed["instance"]["queries"][0]["target"]["num"][0] += 1
    code, out, _ = run(seal(changed))
    assert code == 1
    assert "kernel: false" in out
    assert "the kernel says that this certificate is false" in out
    assert Path("cert.v").exists()


def test_what_has_no_theorem_is_refused(certificates: dict[str, Json], run: Callable[..., Any]) -> None:
    check = next(c.check for c in REGISTRY["direction-lemma"].cases(Settings()))
    certificate = check().certificate
    assert certificate is not None
    code, out, err = run(certificate.document())
    assert (code, out) == (2, "")
    assert "cannot be written for Coq" in err
    assert "found direction-lemma (attains)" in err
    assert err.count("\n") == 1
    assert not Path("cert.v").exists()


def test_layers_with_embedding_are_refused(certificates: dict[str, Json], run: Callable[..., Any]) -> None:
    changed = json.loads(canonical(certificates["closeness"]))
    changed["instance"]["layer"]["E"] = {"den": 1, "num": [[0, 0, 0], [0, 0, 0]]}
    code, _, err = run(seal(changed))
    assert code == 2
    assert "without positional embedding E; found one with E" in err


def test_large_grids_are_refused(certificates: dict[str, Json], run: Callable[..., Any]) -> None:
    too_many = "expected at most 5000 columns; found more than that"
    neither = "expected a shift by the bound, or at most 16384 ids; found neither"
    for d, m, k, expected in ((1, 2, 3, neither), (50, 1, 2, too_many), (1, 1, 1 << 40, too_many)):
        changed = json.loads(canonical(certificates["distinct"]))
        changed["instance"] |= {"d": d, "m": m, "k": k}
        code, _, err = run(seal(changed))
        assert code == 2, (d, m, k)
        assert expected in err


def test_the_bound_is_used_where_it_holds() -> None:
    """With all contexts otherwise; d, m, k = 1, 2, 2 has the bound 20480."""
    for m, G, check in ((1, 0, "bound"), (2, 20480, "bound"), (2, 20479, "distinct"), (2, hex(1 << 60), "bound")):
        instance = {"d": 1, "m": m, "k": 2, "G": G}
        certificate = {"claim": "contextual-mapping", "relation": "distinct-ids", "instance": instance}
        text, theorem = export({**certificate, "witness": {"by": "bound"}, "sha256": "0"}, "x")
        assert theorem == f"check_{check}_sound"
        assert f"check_{check} 1 {m} 2 G = true" in text


def test_long_prompts_of_a_collapse_are_refused(certificates: dict[str, Json], run: Callable[..., Any]) -> None:
    changed = json.loads(canonical(certificates["collapse"]))
    changed["instance"]["prompt_length"] = 1 << 30
    code, _, err = run(seal(changed))
    assert code == 2
    assert "at most 5000 tokens" in err


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"claim": 1}', "\x00"])
def test_other_files_are_refused(text: str, run: Callable[..., Any]) -> None:
    code, out, err = run(text)
    assert (code, out) == (4, "")
    assert "not a certificate" in err
    assert err.count("\n") == 1


def test_names_of_files(certificates: dict[str, Json], run: Callable[..., Any]) -> None:
    content = certificates["distinct"]
    assert run(content, "--out", "folder", name="2-a b.cert.json")[0] == 0
    assert run(content, "--out", "folder/Named.v")[0] == 0
    assert sorted(path.name for path in Path("folder").iterdir()) == ["Named.v", "certificate_2_a_b.v"]
    code, _, err = run(content, "--out", "no-module.v")
    assert code == 4
    assert "letters, digits and _" in err
    Path("file").write_text("")
    assert run(content, "--out", "file/x")[0] == 4


def test_the_theorems_are_lemmas_of_their_claims() -> None:
    for name, (slug, _) in CASES.items():
        assert THEOREMS[name] in {lemma.name for lemma in lemmas_of(slug)}


def test_every_kind_is_tried_here() -> None:
    assert {(e.claim, e.relation) for e in EXPORTABLE} == {
        ("unmemorizable-pair", "no-prompt-memorizes"),
        ("prompted-injectivity", "collapse"),
        ("contextual-mapping", "distinct-ids"),
        ("contextual-mapping", "collision"),
    }
