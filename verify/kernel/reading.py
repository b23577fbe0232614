"""Strict reading of a certificate: bytes to JSON to fields that know their place in the file.

JSON is accepted only as the canonical text of an object: no floats, no repeated keys, no field too many
or too few, bounded size and nesting. What is wrong is reported as field path, expected, found.
"""

import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import NoReturn

import limits
from limits import NotACertificate, OverLimits

FORMAT = "promptcert-certificate/1"
HEXADECIMAL = re.compile(r"-?0x(?!0.)[0-9a-f]+")
SAFE = 1 << 53  # below this integers may be JSON integers


def shown(value: object) -> str:
    """A short description of a JSON value for messages."""
    if isinstance(value, str):
        return json.dumps(value if len(value) <= 40 else value[:37] + "...")
    if isinstance(value, list):
        return f"a list of length {len(value)}"
    if isinstance(value, dict):
        return "an object with fields " + (", ".join(map(shown, list(value)[:9])) or "(none)")
    return json.dumps(value)  # null, a boolean, or an integer, short by `_json_integer`


@dataclass(frozen=True)
class Field:
    """A JSON value and where it stands."""

    value: object
    path: str

    def fail(self, expected: str, found: str = "") -> NoReturn:
        """Say what was expected here and what is there instead."""
        raise NotACertificate(f"{self.path or 'file'}: expected {expected}, found {found or shown(self.value)}")

    def record(self, *names: str) -> list["Field"]:
        """The fields of an object that has exactly these fields, in this order."""
        if not isinstance(self.value, dict) or set(self.value) != set(names):
            self.fail("an object with fields " + ", ".join(map(shown, names)))
        return [Field(self.value[name], f"{self.path}.{name}".lstrip(".")) for name in names]

    def has(self, name: str) -> bool:
        """Whether this is an object with that field, for the places where a choice of shapes is allowed."""
        return isinstance(self.value, dict) and name in self.value

    def items(self, length: int | None = None) -> list["Field"]:
        """The entries of a list, of that length if one is given."""
        if not isinstance(self.value, list) or length not in (None, len(self.value)):
            self.fail("a list" if length is None else f"a list of length {length}")
        return [Field(entry, f"{self.path}[{k}]") for k, entry in enumerate(self.value)]

    def choice(self, *options: str) -> str:
        """A string that is one of the options."""
        if not isinstance(self.value, str) or self.value not in options:
            some = f"one of {len(options)} names like {shown(options[0])}"
            self.fail(" or ".join(map(shown, options)) if len(options) <= 5 else some)
        return self.value

    def boolean(self) -> bool:
        """true or false."""
        if not isinstance(self.value, bool):
            self.fail("true or false")
        return self.value

    def is_null(self) -> bool:
        """Whether the value is null, where null is allowed."""
        return self.value is None

    def integer(self) -> int:
        """An integer: a JSON integer below 2^53 in absolute value, or a hexadecimal string."""
        return self.integers([self.value], single=True)[0]

    def index(self, count: int) -> int:
        """An integer k with 0 <= k < count."""
        k = self.integer()
        if not 0 <= k < count:
            self.fail(f"an integer from 0 to {count - 1}")
        return k

    def numbers(self, length: int | None = None) -> tuple[int, ...]:
        """A list of integers, of that length if one is given."""
        if not isinstance(self.value, list) or length not in (None, len(self.value)):
            self.fail("a list of integers" + ("" if length is None else f" of length {length}"))
        return self.integers(self.value)

    def integers(self, values: list[object], single: bool = False) -> tuple[int, ...]:
        """The integers that these JSON values stand for; a boolean is none (though Python says so)."""
        result = []
        for k, value in enumerate(values):
            if type(value) is int:
                result.append(value)
            elif isinstance(value, str) and HEXADECIMAL.fullmatch(value) and value != "-0x0":
                result.append(int(value, 16))
                if result[-1].bit_length() > limits.MAX_INTEGER_BITS:
                    raise OverLimits(f"{self.path}: an integer of more than {limits.MAX_INTEGER_BITS} bits")
            else:
                place = self if single else Field(value, f"{self.path}[{k}]")
                place.fail('an integer below 2^53 or a hexadecimal string like "-0x1f"')
        return tuple(result)


@dataclass(frozen=True)
class Envelope:
    """The outer object; `intact` says whether the sha256 is that of the content."""

    claim: Field
    relation: Field
    evidence: Field
    instance: Field
    witness: Field
    intact: bool


def load(data: bytes) -> Envelope:
    """Read the bytes of a certificate file."""
    if len(data) > limits.MAX_FILE_BYTES:
        raise OverLimits(f"a file of more than {limits.MAX_FILE_BYTES} bytes")
    if data.count(b",") + data.count(b"[") + data.count(b"{") > limits.MAX_VALUES:
        raise OverLimits(f"a file of more than {limits.MAX_VALUES} values")
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as error:
        byte = data[error.start]
        raise NotACertificate(f"byte {error.start}: expected ASCII, found 0x{byte:02x}") from None
    try:
        value = json.loads(
            text,
            object_pairs_hook=_json_object,
            parse_int=_json_integer,
            parse_float=_json_float,
            parse_constant=_json_float,
        )
        _check_nesting(value)
    except json.JSONDecodeError as error:
        raise NotACertificate(f"byte {error.pos}: expected JSON, found: {error.msg}") from None
    except RecursionError:
        raise NotACertificate(f"expected nesting of at most {limits.MAX_NESTING}, found more") from None

    whole = Field(value, "")
    if not isinstance(value, dict):
        Field(value, "file").fail("an object")
    version, claim, relation, evidence, instance, witness, toolkit, digest = whole.record(
        "format", "claim", "relation", "evidence", "instance", "witness", "toolkit", "sha256"
    )
    version.choice(FORMAT)
    if not isinstance(toolkit.value, dict) or not all(isinstance(v, str) for v in toolkit.value.values()):
        toolkit.fail("an object of strings")
    if not isinstance(digest.value, str) or not re.fullmatch("[0-9a-f]{64}", digest.value):
        digest.fail("64 lowercase hexadecimal digits")
    if canonical(value) + "\n" != text:
        raise NotACertificate("file: expected canonical JSON text and one line break, found another spelling")
    del value["sha256"]
    intact = hashlib.sha256(canonical(value).encode()).hexdigest() == digest.value
    return Envelope(claim, relation, evidence, instance, witness, intact)


def canonical(value: object) -> str:
    """The one text of a JSON value that is allowed, and that the hash is taken of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _json_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) < len(pairs):
        ((key, times),) = Counter(key for key, _ in pairs).most_common(1)
        raise NotACertificate(f"expected each key once in an object, found {shown(key)} {times} times")
    return result


def _json_integer(digits: str) -> int:
    # The length first: converting long decimal strings takes quadratic time.
    if len(digits) > 17 or abs(int(digits)) >= SAFE:
        raise NotACertificate(f"expected a hexadecimal string from 2^53 on, found {digits[:40]}")
    return int(digits)


def _json_float(digits: str) -> NoReturn:
    raise NotACertificate(f"expected an integer, found {digits[:40]}")


def _check_nesting(value: object) -> None:
    """Level by level, so that this check itself needs no recursion."""
    level = [value]
    for _ in range(limits.MAX_NESTING):
        level = [
            child
            for parent in level
            if isinstance(parent, list | dict)
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, list | dict)
        ]
        if not level:
            return
    raise RecursionError
