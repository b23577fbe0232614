"""The page as a file: what a run says is all there, as text and only as text; figures follow the run."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from report_documents import WRONG, case, claim, document, every_outcome

from constructions.numbers.rational import RationalMatrix, column_vector, rational
from constructions.transformer import Transformer
from verify import certificate as write
from verify.instances import random_layer
from verify.report import html
from verify.report import instances as read
from verify.report.figures import PICTURES, drawn
from verify.report.figures.style import INK, inline, new_figure, panel, styled

Json = dict[str, Any]
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> & \"' {{ 7*7 }} {% raw %} </style></title>"


class Page(HTMLParser):
    """Elements, ids, references and the text of a page; every element closed by its own end tag."""

    VOID = frozenset({"meta", "link", "br", "img", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append((self.open[-1] if self.open else "", data))

    @property
    def text(self) -> str:
        return "".join(data for tag, data in self.words if tag != "style")

    def within(self, tag: str) -> str:
        return "".join(data for found, data in self.words if found == tag)

    def count(self, tag: str) -> int:
        return sum(found == tag for found, _ in self.elements)

    @property
    def ids(self) -> list[str]:
        return [value for _, attributes in self.elements if (value := attributes.get("id")) is not None]


def set_in_type(words: str) -> str:
    """The words as the page's text holds them, where indices and powers are elements."""
    return Page(html.formulas(words)).text


@pytest.fixture(scope="module")
def report(run_folder: Path) -> Json:
    found: Json = json.loads((run_folder / "report.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def page(run_folder: Path) -> Page:
    return Page((run_folder / "report.html").read_text(encoding="utf-8"))


def test_everything_of_the_run_is_on_the_page(page: Page, report: Json) -> None:
    cases = [each for found in report["claims"] for each in found["cases"]]
    assert len(cases) == 8
    for found in report["claims"]:
        for field in ("title", "slug", "statement", "source", "scope"):
            assert set_in_type(found[field]) in page.text, field
        for finding in found["findings"]:
            assert set_in_type(finding["text"]) in page.text
    for each in cases:
        assert set_in_type(each["summary"]) in page.text
        for field in ("name", "kernel", "certificate_sha256"):
            assert each[field] in page.text, field
        for constant in each["constants"]:
            assert all(set_in_type(value) in page.text for value in constant.values())
    assert sum(len(each["constants"]) for each in cases) == 5
    assert report["kernel_sha256"] in page.text
    assert all(f"{number}" in page.text for number in report["toolkit"].values())
    assert "Everything as claimed" in page.text


def test_certificates_and_formats_that_are_linked_are_there(page: Page, report: Json, run_folder: Path) -> None:
    links = {attributes["href"] for tag, attributes in page.elements if tag == "a"}
    files = {link for link in links if link is not None and not link.startswith("#")}
    assert all((run_folder / file).is_file() for file in files)
    assert files >= {each["certificate"] for found in report["claims"] for each in found["cases"]}
    assert files >= {"report.json", "report.sarif", "report.junit.xml"}
    for link in links - files:
        assert link is not None
        assert link.removeprefix("#") in page.ids, link


def test_nothing_is_fetched_or_run(page: Page) -> None:
    assert not {"script", "iframe", "object", "embed", "img", "video", "base", "form"} & {
        tag for tag, _ in page.elements
    }
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("src", "srcset", "xlink:href", "action"):
            assert name not in attributes
        if tag == "link":
            assert attributes["href"] == "data:,"
        elif "href" in attributes and tag != "a":
            assert (attributes["href"] or "").startswith("#")
    style = page.within("style")
    assert "@import" not in style
    assert "url(" not in style


def test_ids_are_unique(page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))


def test_headings_are_in_order_and_tables_have_captions(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert page.count("caption") == page.count("table") > 5


def test_what_is_not_as_declared_cannot_be_overlooked(tmp_path: Path) -> None:
    found = Page(html.text(every_outcome(), tmp_path))
    assert "NOT everything as claimed" in found.text
    assert "Everything as claimed" not in found.text
    assert found.within("title").startswith("NOT as claimed")
    links = [attributes.get("href") for tag, attributes in found.elements if tag == "a"]
    first = [link for link in links if str(link).startswith("#claim-")][: len(WRONG)]
    assert first == [f"#claim-{slug}" for slug in WRONG]
    wrong = [attributes.get("id") for tag, attributes in found.elements if attributes.get("class") == "wrong"]
    assert {name for name in wrong if name and name.startswith("claim-")} == {f"claim-{slug}" for slug in WRONG}
    assert {name for name in wrong if name and name.startswith("case-")} == {
        f"case-{slug}-{name}" for slug, names in WRONG.items() for name in names
    }
    opened = sum("open" in attributes for tag, attributes in found.elements if tag == "details")
    assert opened == len(WRONG)
    good = document(*[each for each in every_outcome()["claims"] if each["as_expected"]])
    assert not any(attributes.get("class") == "wrong" for _, attributes in Page(html.text(good, tmp_path)).elements)


def test_a_finding_without_its_case_or_proof_is_marked(tmp_path: Path) -> None:
    findings = [{"text": "gone", "case": "other"}, {"text": "not shown", "case": "a"}, {"text": "shown", "case": "b"}]
    cases = [case("undecided", "a"), case("proved", "b")]
    found = Page(html.text(document(claim("made-up", cases, findings=findings)), tmp_path))
    assert "no case other in this run" in found.text
    ledger = [attributes for tag, attributes in found.elements if tag == "tr" and "id" not in attributes]
    assert sum(attributes.get("class") == "wrong" for attributes in ledger) == 3  # the claim's row, and two findings


def test_constants_of_cases_that_were_not_proved_are_not_shown(tmp_path: Path) -> None:
    constant = {"quantity": "a number", "stated": "2", "certified": "1", "slack": "1"}
    for verdict, shown in (("proved", True), ("undecided", False), ("refuted", False)):
        text = html.text(document(claim("made-up", [case(verdict, constants=[constant])])), tmp_path)
        assert ("a number" in Page(text).text) is shown


@given(st.text(min_size=1, max_size=30))
@example(HOSTILE)
@example("W_1 and my_name, M^T, a_{<b>}^{&}, _^{}")
def test_words_are_text(words: str) -> None:
    """Every field in words, of claims that may be a user's own, is shown as it is, and adds no element."""

    def page_of(value: str) -> Page:
        constant = {"quantity": value, "stated": value, "certified": value, "slack": value}
        item = case("proved", summary=value, kernel=value, constants=[constant])
        bad = case("refuted", "bad", summary=value)
        fields = {"title": value, "statement": value, "source": value, "scope": value}
        findings = [{"text": value, "case": "only"}]
        return Page(html.text(document(claim("made-up", [item, bad], findings=findings, **fields)), Path("nowhere")))

    plain, found = page_of("zzzz"), page_of(words)
    assert [each for each in found.elements if each not in (("sub", {}), ("sup", {}))] == plain.elements
    if not set("_^") & set(words):
        assert found.text == plain.text.replace("zzzz", words)


# -- figures --------------------------------------------------------------------------------------------------------


def test_all_figures_are_there_with_words_for_them(page: Page) -> None:
    drawings = [attributes for tag, attributes in page.elements if tag == "svg"]
    assert len(drawings) == len(PICTURES) == 4
    assert all(attributes["role"] == "img" and len(attributes["aria-label"] or "") > 40 for attributes in drawings)
    assert all(picture.title in page.text for picture in PICTURES)


def test_colours_of_figures_are_those_of_the_page(run_folder: Path) -> None:
    text = (run_folder / "report.html").read_text(encoding="utf-8")
    drawings = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    style = (Path(html.__file__).parent / "report.css").read_text(encoding="utf-8")
    for drawing in drawings:
        assert re.findall("#[0-9a-fA-F]{6}", drawing) == []
        for variable in set(re.findall(r"var\((--\w+)\)", drawing)):
            assert style.count(f"{variable}:") == 3  # light, dark, print


def test_figures_follow_the_run(report: Json, run_folder: Path) -> None:
    """A claim that is not in the run has no figure, nor has one whose case was not proved."""
    only = {**report, "claims": [each for each in report["claims"] if each["slug"] == "prompted-injectivity"]}
    assert [figure.picture.name for figure in drawn(only, run_folder)] == ["collapse"]
    open_ = json.loads(json.dumps(only))
    open_["claims"][0]["cases"][0].update(verdict="undecided", certificate=None, certificate_sha256=None)
    assert drawn(open_, run_folder) == []


def test_a_colour_outside_of_the_palette_is_refused() -> None:
    with styled():
        figure: Figure = new_figure(1.0)
        panel(figure).plot([0, 1], [0, 1], color="#123456")
    with pytest.raises(ValueError, match="#123456"):
        inline(figure, "name", "words")


def test_ids_of_a_figure_begin_with_its_name_and_lead_somewhere() -> None:
    with styled():
        figure: Figure = new_figure(1.0)
        panel(figure).plot([0, 1], [0, 1], color=INK, label="x")
        text = inline(figure, "name", 'words & "quotes"')
    ids = set(re.findall(r' id="([^"]+)"', text))
    assert ids
    assert all(each.startswith("name-") for each in ids)
    assert set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r' href="#([^"]+)"', text)) <= ids
    assert 'aria-label="words &amp; &quot;quotes&quot;"' in text
    assert "<style" not in text


def test_figures_do_not_depend_on_the_settings_around(run_folder: Path, report: Json) -> None:
    import matplotlib

    only = {**report, "claims": [each for each in report["claims"] if each["slug"] == "prompted-injectivity"]}
    first = drawn(only, run_folder)
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "none", "axes.facecolor": "red"}):
        assert drawn(only, run_folder) == first


@given(seed=st.integers(0, 10**6), d=st.integers(1, 3), r=st.integers(0, 3))
def test_layers_of_certificates_are_read_back(seed: int, d: int, r: int) -> None:
    import random

    made = random_layer(random.Random(seed), d, heads=2, s=1, r=r)
    assert read.layer(write.layer(Transformer((made,)))) == made


def test_long_numbers_are_read_back() -> None:
    values = RationalMatrix.of([["1/3", -(2**70)], [0, "7/5"]])
    assert read.matrix(write.matrix(values)) == values
    assert read.vector(write.vector([rational(2**80), rational("-1/7")])) == [rational(2**80), rational("-1/7")]
    assert column_vector(read.vector(write.vector([rational(0)]))) == column_vector([0])
