"""The Coq library without Coq: its theorems, the registry of claims and the page docs/machine-checked.md are in step,
and nothing in it is assumed."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from verify.claims.formal import LEMMAS, lemmas_of
from verify.claims.registry import REGISTRY
from verify.commands.doctor import machine_checked
from verify.coq import EXPORTABLE

ROOT = Path(__file__).resolve().parents[2]
FORMAL = ROOT / "formal"
FILES = sorted(path.stem for path in FORMAL.glob("*.v"))
COMMENT = re.compile(r"\(\*.*?\*\)", re.DOTALL)


def _document() -> ModuleType:
    spec = importlib.util.spec_from_file_location("formal_document", FORMAL / "document.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DOCUMENT = _document()


def code(file: str) -> str:
    return COMMENT.sub(" ", (FORMAL / f"{file}.v").read_text(encoding="utf-8"))


def test_the_project_lists_every_file() -> None:
    listed = [line for line in (FORMAL / "_CoqProject").read_text().splitlines() if line.endswith(".v")]
    assert sorted(listed) == [f"{file}.v" for file in FILES]


def test_every_registered_lemma_is_stated_and_every_theorem_is_registered() -> None:
    stated = {
        (file, name)
        for file in FILES
        for name, text in DOCUMENT.statements(file).items()
        if not text.startswith("Lemma")  # those are steps on the way
    }
    assert stated == {(lemma.file, lemma.name) for lemma in LEMMAS}
    assert max(Counter(lemma.name for lemma in LEMMAS).values()) == 1


def test_a_renamed_lemma_would_be_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = (FORMAL / "Split.v").read_text(encoding="utf-8").replace("attention_split", "attention_splits")
    (tmp_path / "Split.v").write_text(text, encoding="utf-8")
    monkeypatch.setattr(DOCUMENT, "HERE", tmp_path)
    assert set(DOCUMENT.statements("Split")) == {"lambda_in_open_interval", "attention_splits"}


def test_every_theorem_of_a_file_is_found_by_the_reader_of_statements() -> None:
    """Not only those that end in a way it knows."""
    for file in FILES:
        named = re.findall(r"^\s*(?:Theorem|Corollary|Lemma)\s+(\w+)", code(file), re.MULTILINE)
        assert named == list(DOCUMENT.statements(file)), file


def test_the_claims_are_those_of_the_registry() -> None:
    assert {slug for lemma in LEMMAS for slug in lemma.claims} <= set(REGISTRY)
    assert {exporter.claim for exporter in EXPORTABLE} <= set(REGISTRY)
    assert all(lemmas_of(exporter.claim) for exporter in EXPORTABLE)
    assert {item["claim"] for item in machine_checked()} == {slug for lemma in LEMMAS for slug in lemma.claims}


def test_the_page_states_every_lemma_as_coq_and_registry_do() -> None:
    page = (ROOT / "docs" / "machine-checked.md").read_text(encoding="utf-8")
    assert DOCUMENT.generated() in page, "run: python formal/document.py"


def test_the_trust_page_tells_what_each_claim_rests_on() -> None:
    page = (ROOT / "docs" / "trust.md").read_text(encoding="utf-8")
    table = page.split("| claim | proof in prose |")[1].split("\n\n")[0]
    rows = dict(re.findall(r"^\| `([a-z-]+)` \|(.*)\|$", table, re.MULTILINE))
    assert list(rows) == list(REGISTRY)
    for slug, row in rows.items():
        _, kernel, lemmas, replay = (cell.strip() for cell in row.split("|"))
        assert kernel
        assert bool(lemmas_of(slug)) == (lemmas != "no"), slug
        kinds = {exporter.relation for exporter in EXPORTABLE if exporter.claim == slug}
        assert set(re.findall(r"`([a-z-]+)`", replay)) == kinds, slug


@pytest.mark.parametrize("file", FILES)
def test_nothing_is_assumed(file: str) -> None:
    """No gap, no axiom; what a section supposes, its theorems state."""
    text = code(file)
    gaps = r"\b(Admitted|admit|Axioms?|Parameters?|Conjecture|Abort|bypass_check|Unset\s+\w+\s+Checking|give_up)\b"
    assert re.search(gaps, text) is None
    depth = 0
    for sentence in re.split(r"\.\s", text):
        words = sentence.split()
        if words[:1] == ["Section"]:
            depth += 1
        elif words[:1] == ["End"]:
            depth = max(depth - 1, 0)
        elif words[:1] and words[0] in ("Variable", "Variables", "Hypothesis", "Hypotheses", "Context"):
            assert depth > 0, sentence


@pytest.mark.parametrize("exporter", EXPORTABLE, ids=lambda exporter: f"{exporter.claim}-{exporter.relation}")
def test_what_exported_files_name_is_in_the_library(exporter) -> None:
    imported = {name for file in exporter.module.IMPORTS for name in DOCUMENT.statements(file)}
    named = set(re.findall(r"check_\w+_sound", Path(exporter.module.__file__).read_text(encoding="utf-8")))
    assert named
    assert named <= imported
    words = set(re.findall(r"\b[A-Za-z_]\w+", " ".join(code(file) for file in exporter.module.IMPORTS)))
    assert {"Head", "Mlp", "Layer", "Query", "matrix_over", "vector_over", "columns_over"} <= words or (
        exporter.claim == "contextual-mapping"
    )
    assert exporter.words in exporter.module.IMPORTS
    assert set(exporter.module.IMPORTS) <= set(FILES)
