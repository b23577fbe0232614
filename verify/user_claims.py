"""For claims of one's own (docs/own-claims.md): a case that looks for a counterexample and then, if it can, proves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample, Unsatisfiable

from constructions.verdict import Evidence, Undecided, Verdict
from verify.certificate import Certificate
from verify.claims.claim import Case, CaseResult, Settings
from verify.counterexample import Refuted
from verify.strategies import smallest

THOROUGH = 10
"""So many times more examples in a thorough audit."""


def property_case(
    name: str,
    strategies: Mapping[str, st.SearchStrategy[Any]],
    check: Callable[..., None],
    *,
    settings: Settings | None = None,
    examples: int = 200,
    prove: Callable[[], Certificate] | None = None,
) -> Case:
    """A case by hypothesis: ``check`` is given what ``strategies`` draw, by name, and raises Refuted where the
    statement fails; the smallest such example is the counterexample.

    If there is none among so many examples (fewer, where the strategies draw no more), ``prove`` makes the certificate;
    without it the case stays undecided, since sampling proves nothing. The examples follow the seed of the audit. What
    else ``check`` raises, or returns, is a mistake in it, and ends the case.

    >>> def check(n):
    ...     if n * n > 50:
    ...         raise Refuted(f"expected n² ≤ 50, found n = {n}")
    >>> property_case("squares", {"n": st.integers()}, check).check()
    Traceback (most recent call last):
        ...
    verify.counterexample.Refuted: expected n² ≤ 50, found n = 8
    >>> property_case("squares", {"n": st.integers(0, 7)}, check).check().summary
    'no counterexample among 8 examples'
    """
    chosen = Settings() if settings is None else settings
    count = examples * (THOROUGH if chosen.thorough else 1)

    def attempt(arguments: Mapping[str, Any]) -> Refuted | None:
        try:
            returned: object = check(**arguments)  # type: ignore[func-returns-value]
        except Refuted as found:
            return found
        except (NoSuchExample, Unsatisfiable) as error:  # of a search of its own: says nothing about the one here
            raise RuntimeError(f"check: {type(error).__name__}: {error}") from error
        if returned is not None:
            raise TypeError(
                f"check: expected to return nothing and to raise Refuted, found that it returns {returned!r:.60}"
            )
        return None

    def run() -> CaseResult:
        tried = 0

        def refuted(arguments: Mapping[str, Any]) -> bool:
            nonlocal tried
            found = attempt(arguments)
            tried += 1  # not those that the check itself rejects, by hypothesis.assume
            return found is not None

        try:
            drawn = smallest(
                st.fixed_dictionaries(dict(strategies)),
                refuted,
                max_examples=count,
                seed=chosen.seed,
            )
        except NoSuchExample:
            return _proved(prove, f"no counterexample among {tried} examples")
        except Unsatisfiable:
            raise Undecided("no example could be drawn: the strategies, with their filters, leave none") from None
        found = attempt(drawn)
        if found is None:
            raise Undecided("refuted, and not refuted when checked again with the same arguments")
        found.instance = drawn if found.instance is None else found.instance
        raise found

    return Case(name, run)


def _proved(prove: Callable[[], Certificate] | None, searched: str) -> CaseResult:
    if prove is None:
        return CaseResult(Verdict.UNDECIDED, Evidence.SAMPLED, searched)
    certificate: object = prove()
    if not isinstance(certificate, Certificate):
        raise TypeError(f"prove: expected to return a Certificate, found {type(certificate).__name__}")
    return CaseResult(Verdict.PROVED, certificate.evidence, searched, certificate)
