"""The report as JUnit XML: a test suite for each claim, a test case for each of its cases.

A case that makes its claim differ from the verdict that it declares is a failure. A case that is undecided in a claim
that declares so (a sampled one, say) is skipped: nothing was shown, and nothing was promised.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from verify.report.outcome import Json, rows, sentence, unexpected

FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold."""


def text(report: Json) -> str:
    """The XML document as text. It holds no times, so that the same run gives the same bytes."""
    root = ET.Element("testsuites", name="promptcert audit")
    for claim in report["claims"]:
        root.append(_suite(claim))
    for count in ("tests", "failures", "errors", "skipped"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in root)))
    ET.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def clean(value: str) -> str:
    """Text that XML can hold: other characters become U+FFFD.

    >>> clean("a\\x00b")
    'a\ufffdb'
    """
    return FORBIDDEN.sub("\ufffd", value)


def _suite(claim: Json) -> ET.Element:
    suite = ET.Element("testsuite", name=claim["slug"])
    properties = ET.SubElement(suite, "properties")
    for name in ("title", "source", "verdict", "expected", "evidence"):
        ET.SubElement(properties, "property", name=name, value=clean(claim[name]))
    wrong = unexpected(claim)
    for case in rows(claim):
        element = _case(claim, case["name"])
        if case in wrong:
            _fail(element, claim, f"{case['verdict']}: {case['summary']}", case["verdict"])
        elif case["verdict"] == "undecided":
            ET.SubElement(element, "skipped", message=clean(f"undecided, as declared: {case['summary']}"))
        ET.SubElement(element, "system-out").text = clean("\n".join(_told(case)))
        suite.append(element)
    if not claim["as_expected"] and not wrong:
        element = _case(claim, "(the claim)")
        _fail(element, claim, "it has no case of that verdict", claim["verdict"])
        suite.append(element)
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("errors", "0")
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
    return suite


def _case(claim: Json, name: str) -> ET.Element:
    return ET.Element("testcase", classname=f"promptcert.{claim['slug']}", name=clean(name))


def _fail(element: ET.Element, claim: Json, said: str, verdict: str) -> None:
    failure = ET.SubElement(element, "failure", message=clean(f"{sentence(claim)}; {said}"), type=verdict)
    failure.text = clean(claim["statement"])


def _told(case: Json) -> list[str]:
    lines = [f"{case['verdict']} ({case['evidence']}): {case['summary']}"]
    if case["kernel"] is not None:
        lines.append(f"kernel: {case['kernel']}")
    if case["certificate"] is not None:
        lines.append(f"certificate: {case['certificate']} sha256 {case['certificate_sha256']}")
    return lines
