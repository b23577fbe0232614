"""Hostile inputs made from good ones: bytes changed, structure changed, and documents made from a JSON Schema.

Everything is drawn from a :class:`random.Random`, so an input is known again by its seed; hypothesis draws such a
generator where the tests want small counterexamples.
"""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

Json = Any
Place = tuple[Any, ...]


class Raw:
    """A value whose JSON text is not what ``json`` would write."""

    def __init__(self, text: str) -> None:
        self.text = text


def written(value: Json) -> str:
    """Canonical JSON, with raw values as they are."""
    raw: list[str] = []

    def held(part: Raw) -> str:
        raw.append(part.text)
        return f"\x00{len(raw) - 1}\x00"

    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=held)
    return re.sub(r'"\\u0000(\d+)\\u0000"', lambda match: raw[int(match[1])], text) if raw else text


# --- bytes -------------------------------------------------------------------------------------------------------


def _span(rng: random.Random, data: bytes, most: int = 64) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.randint(1, most))


def _flip(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 8])):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _set(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    changed = bytearray(data)
    changed[rng.randrange(len(changed))] = rng.choice(b'0123456789-+.eE"[]{},:x \n\\\x00\xff\xc3nNtfI')
    return bytes(changed)


def _cut(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    return data[: rng.randrange(len(data))]


def _drop(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    start, stop = _span(rng, data)
    return data[:start] + data[stop:]


def _repeat(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    start, stop = _span(rng, data)
    return data[:start] + data[start:stop] * rng.choice([2, 3, 20, 500]) + data[stop:]


def _splice(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    other = rng.choice(others)
    start, stop = _span(rng, other, 200)
    at = rng.randrange(len(data) + 1)
    return data[:at] + other[start:stop] + data[at + rng.choice([0, stop - start]) :]


def _insert(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(data) + 1)
    pieces = (b"\xef\xbb\xbf", b"\x00", b"\xed\xa0\x80", b"\xff\xfe", b"NaN", b"-", b"1e999", b'"', b"[" * 2000,
              b'{"a":' * 600, b"\\u0000", b"/**/", b"9" * 5000, "½".encode(), b"\xe2\x80\xa8", b" " * 1000)  # fmt: skip
    return data[:at] + rng.choice(pieces) + data[at:]


BYTES = (_flip, _flip, _set, _set, _cut, _drop, _repeat, _splice, _insert)


def bytes_mutant(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """The bytes of a file, changed once or a few times."""
    for _ in range(rng.choice([1, 1, 2, 4])):
        data = rng.choice(BYTES)(rng, data or b"{}", others)
    return data


# --- structure ---------------------------------------------------------------------------------------------------


DEEP = 40
"""Documents of this depth are not grown further (the depth that counts comes from raw text)."""


@lru_cache(maxsize=1024)
def _known_places(identity: int) -> list[tuple[Place, Json]]:
    return list(_places(_KNOWN[identity]))


_KNOWN: dict[int, Json] = {}


def remember(documents: Sequence[Json]) -> None:
    """Documents that will be changed again and again, and never in place."""
    _KNOWN.update((id(document), document) for document in documents)


def places(value: Json) -> list[tuple[Place, Json]]:
    """All parts of a document with their places, the whole first."""
    return _known_places(id(value)) if id(value) in _KNOWN else list(_places(value))


def _places(value: Json, place: Place = ()) -> Iterator[tuple[Place, Json]]:
    yield place, value
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _places(part, (*place, key))


def at(value: Json, place: Place) -> Json:
    for key in place:
        value = value[key]
    return value


def replaced(value: Json, place: Place, new: Json) -> Json:
    """A copy that shares everything off the place."""
    if not place:
        return new
    result = copy.copy(value)
    result[place[0]] = replaced(value[place[0]], place[1:], new)
    return result


def _digits(rng: random.Random, count: int, alphabet: str) -> str:
    return rng.choice(alphabet.replace("0", "")) + "".join(rng.choices(alphabet, k=count - 1))


def number(rng: random.Random) -> Json:
    """A number as some format of ours writes it, or as none does."""
    size = rng.choice([1, 2, 5, 17, 60, 300, 1000])
    return rng.choice(
        [
            lambda: rng.randint(-3, 3),
            lambda: 0,
            lambda: rng.choice([-1, 1]) * (1 << rng.choice([31, 52, 53, 54, 63, 64])) + rng.randint(-1, 1),
            lambda: rng.choice(["", "-"]) + "0x" + _digits(rng, size, "0123456789abcdef"),
            lambda: rng.choice(["0x", "0x0", "-0x0", "0X1f", "0x00ff", "0xg", "+0x1", "0x1 ", "0x1.8", "0x_1"]),
            lambda: f"{rng.randint(-99, 99)}/{rng.choice([0, 1, 2, 3, 7, -2, 10**30])}",
            lambda: f"{_digits(rng, size, '0123456789')}/{_digits(rng, size, '0123456789')}",
            lambda: Raw(f"{rng.choice(['', '-'])}{_digits(rng, size, '0123456789')}"),
            lambda: Raw(f"{rng.randint(-9, 9)}.{_digits(rng, size, '0123456789')}"),
            lambda: Raw(f"{rng.randint(1, 9)}e{rng.choice(['', '-', '+'])}{rng.getrandbits(rng.randint(1, 30))}"),
            lambda: Raw(rng.choice(["NaN", "Infinity", "-Infinity", "-0", "-0.0", "1E400", "0e9999999", "1.0", "01"])),
            lambda: rng.choice(["NaN", "inf", "1e5", "１", "٣", "½", "1_000", " 1", "1 ", "", "0/0", "--1", "1/2/3"]),
        ]
    )()  # fmt: skip


def thing(rng: random.Random) -> Json:
    """Some JSON value that belongs nowhere in particular."""
    depth = rng.choice([3, 40, 510, 600, 3000])
    return rng.choice(
        [
            lambda: None,
            lambda: rng.random() < 0.5,
            lambda: number(rng),
            lambda: rng.choice(["", "exact", "cone", "softmax", "\ud800", "\u2028", "\x00", "É" * 50, "x" * 2000]),
            list,
            dict,
            lambda: [number(rng) for _ in range(rng.randint(1, 4))],
            lambda: [[number(rng) for _ in range(rng.randint(0, 3))] for _ in range(rng.randint(1, 3))],
            lambda: {"den": number(rng), "num": number(rng)},
            lambda: {"den": rng.choice([0, -1, 1, True, None]), "num": [[number(rng)]]},
            lambda: Raw("[" * depth + "]" * depth),
            lambda: Raw('{"den":' * depth + "1" + "}" * depth),
            lambda: Raw('{"den":1,"den":2,"num":0}'),
            lambda: [0] * rng.choice([100, 5000]),
        ]
    )()  # fmt: skip


def _swapped(rng: random.Random, document: Json, donors: Sequence[Json]) -> Json:
    spots = [place for place, _ in places(document) if place]
    if not spots:
        return document
    one, two = rng.choice(spots), rng.choice(spots)
    short = min(len(one), len(two))
    if one[:short] == two[:short]:
        return document  # the same place, or one inside the other
    a, b = at(document, one), at(document, two)
    return replaced(replaced(document, one, b), two, a)


def _grafted(rng: random.Random, document: Json, donors: Sequence[Json]) -> Json:
    """A part of another document, at a place of the same name if there is one."""
    spots = [place for place, _ in places(document) if place]
    if not spots:
        return document
    place = rng.choice(spots)
    parts = places(rng.choice(donors))
    same = [part for where, part in parts if where and where[-1] == place[-1]]
    return replaced(document, place, rng.choice(same) if same and rng.random() < 0.8 else rng.choice(parts)[1])


def _other_type(rng: random.Random, document: Json, donors: Sequence[Json]) -> Json:
    spots = [place for place, _ in places(document) if place]
    return replaced(document, rng.choice(spots), thing(rng)) if spots else document


def _other_number(rng: random.Random, document: Json, donors: Sequence[Json]) -> Json:
    spots = [place for place, part in places(document) if place and not isinstance(part, dict | list)]
    return replaced(document, rng.choice(spots), number(rng)) if spots else document


def _near_number(rng: random.Random, document: Json, donors: Sequence[Json]) -> Json:
    """A number that the kernel can read, so that the conditions of the claim decide."""
    spots = [place for place, part in places(document) if type(part) is int]
    if not spots:
        return document
    place = rng.choice(spots)
    n = at(document, place)
    m = rng.choice([n + 1, n - 1, -n, 0, 2 * n, rng.randint(-4, 4), n + (1 << 40)])
    return replaced(document, place, m if abs(m) < 1 << 53 else hex(m))


def _denominator(rng: random.Random, document: Json, donors: Sequence[Json]) -> Json:
    spots = [place for place, _ in places(document) if place and place[-1] == "den"]
    return replaced(document, rng.choice(spots), rng.choice([0, -1, 2, 3, "0x0", "-0x1", hex(rng.getrandbits(80) | 1 << 60)])) if spots else document  # fmt: skip  # noqa: E501


def _shape(rng: random.Random, document: Json, donors: Sequence[Json]) -> Json:
    spots = [place for place, part in places(document) if place and isinstance(part, list)]
    if not spots:
        return document
    place = rng.choice(spots)
    old = at(document, place)
    k = rng.randrange(len(old)) if old else 0
    new = rng.choice([old[:k] + old[k + 1 :], old + old[k : k + 1], old[::-1], [], [old], old * 2, old[:k]])
    return replaced(document, place, new)


def _keys(rng: random.Random, document: Json, donors: Sequence[Json]) -> Json:
    """A field dropped, added, or called otherwise."""
    spots = [place for place, part in places(document) if isinstance(part, dict) and part]
    if not spots:
        return document
    place = rng.choice(spots)
    old = dict(at(document, place))
    key = rng.choice(sorted(old))
    kind = rng.choice(["drop", "rename", "add"])
    value = old[key] if kind == "add" else old.pop(key)
    if kind != "drop":
        old[rng.choice([key.upper(), key + " ", "\u00e9", "", "extra", "num", "w", "a" * 300])] = value
    return replaced(document, place, old)


def _nested(rng: random.Random, document: Json, donors: Sequence[Json]) -> Json:
    """A part of the document inside itself, again and again."""
    spots = [place for place, part in places(document) if place and isinstance(part, dict | list)]
    if not spots:
        return document
    outer = rng.choice(spots)
    value = at(document, outer)
    inner = [place for place, part in places(value) if place and type(part) is type(value)]
    if not inner:
        return document
    hole = rng.choice(inner)
    grown = value
    for _ in range(rng.choice([1, 2, 8])):
        grown = replaced(value, hole, grown)
    return replaced(document, outer, grown)


STRUCTURE: tuple[Callable[[random.Random, Json, Sequence[Json]], Json], ...] = (
    _swapped, _grafted, _grafted, _other_type, _other_number, _near_number, _near_number, _near_number, _denominator,
    _shape, _shape, _keys, _nested,
)  # fmt: skip


def structure_mutant(rng: random.Random, document: Json, donors: Sequence[Json]) -> Json:
    """A document changed at one place or a few. It may hold :class:`Raw` values."""
    document = rng.choice(STRUCTURE)(rng, document, donors)
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        if not isinstance(document, dict | list) or not document:
            break
        if any(isinstance(part, Raw) or len(place) > DEEP for place, part in places(document)):
            break
        document = rng.choice(STRUCTURE)(rng, document, donors)
    return document


# --- from a schema -----------------------------------------------------------------------------------------------


def from_schema(rng: random.Random, schema: Json, root: Json, depth: int = 0) -> Json:
    """A value that a JSON Schema allows, as far as the keywords of our schemas go; small, and now and then one that it
    does not allow."""
    if rng.random() < 0.01:
        return thing(rng)
    if "$ref" in schema:
        return from_schema(rng, at(root, tuple(schema["$ref"].removeprefix("#/").split("/"))), root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return rng.choice(schema["enum"])
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return from_schema(rng, rng.choice(schema[word]), root, depth + 1)
    kind = schema.get("type", "object")
    kind = rng.choice(kind) if isinstance(kind, list) else kind
    if kind == "object":
        wanted = schema.get("required", [])
        properties = schema.get("properties", {})
        chosen = [key for key in properties if key in wanted or (depth < 12 and rng.random() < 0.5)]
        return {key: from_schema(rng, properties[key], root, depth + 1) for key in chosen}
    if kind == "array":
        least, most = schema.get("minItems", 0), schema.get("maxItems", 3)
        size = rng.choice([2, 2, 2, rng.randint(least, max(least, min(3, most)))])
        return [from_schema(rng, schema.get("items", {"type": "integer"}), root, depth + 1) for _ in range(size)]
    if kind in ("integer", "number"):
        return number(rng) if rng.random() < 0.1 else rng.randint(-3, 3)
    if kind == "string":
        return number(rng) if rng.random() < 0.1 else rng.choice(["1/2", "-3/7", "0.25", "2", "0x1f", "x"])
    return rng.random() < 0.5 if kind == "boolean" else None
