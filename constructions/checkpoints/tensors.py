"""Tensors of a safetensors file as the exact dyadic numbers they are.

Values of 16, 32 and 64 bits become floats of 64 bits, which hold each of them exactly; integers and booleans are not
read. The package ``safetensors`` reads and validates the file; it has no bfloat16 in its numpy interface, so the bytes
of such a tensor are read here, at the place that follows from the sizes of the tensors before it (the format leaves no
gaps).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from constructions.documents import InputError
from constructions.numbers.dyadic import Floats

KINDS = ("F64", "F32", "F16", "BF16")
"""The kinds of numbers that are read."""
_BYTES = {"F64": 8, "I64": 8, "U64": 8, "C64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}
_BYTES |= {"I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1}


@dataclass(frozen=True)
class Tensors:
    """The tensors of one file, or of several that share a network between them; made by :func:`open_tensors`."""

    files: tuple[str, ...]
    _place: dict[str, _File] = field(repr=False)

    @property
    def names(self) -> list[str]:
        """All names, in order."""
        return sorted(self._place)

    def __contains__(self, name: str) -> bool:
        return name in self._place

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._place[name].handle.get_slice(name).get_shape())

    def kind(self, name: str) -> str:
        """``"F32"``, ``"BF16"``, … as the file says."""
        return str(self._place[name].handle.get_slice(name).get_dtype())

    def file(self, name: str) -> str:
        """The file that holds the tensor."""
        return self._place[name].path

    def read(self, name: str) -> Floats:
        """The values, exactly. Raises InputError for kinds that are not read, and where an entry is not finite."""
        place, kind = self._place[name], self.kind(name)
        if kind not in KINDS:
            raise InputError(f"{place.path}: {name}: expected numbers of the kinds {', '.join(KINDS)}, found {kind}")
        values: Floats = (place.bfloat16(name) if kind == "BF16" else place.handle.get_tensor(name)).astype(np.float64)
        finite = np.isfinite(values)
        if not finite.all():
            position = tuple(int(i) for i in np.argwhere(~finite)[0])
            where = ", ".join(map(str, position))
            raise InputError(f"{place.path}: {name}: expected finite numbers, found {values[position]} at [{where}]")
        return values


class _File:
    """An open file."""

    def __init__(self, path: str, handle: Any) -> None:
        self.path = path
        self.handle = handle

    @cached_property
    def _offsets(self) -> dict[str, int]:
        """Where each tensor begins, counted from the end of the file: its size and that of all after it."""
        offsets, total = {}, 0
        for name in reversed(self.handle.offset_keys()):
            part = self.handle.get_slice(name)
            kind = part.get_dtype()
            if kind not in _BYTES:
                known = ", ".join(_BYTES)
                raise InputError(f"{self.path}: {name}: expected one of the kinds {known} behind BF16, found {kind}")
            total += prod(part.get_shape()) * _BYTES[kind]
            offsets[name] = total
        return offsets

    def bfloat16(self, name: str) -> np.ndarray[Any, np.dtype[np.float32]]:
        """A bfloat16 is the upper half of a float of 32 bits."""
        shape = self.handle.get_slice(name).get_shape()
        with open(self.path, "rb") as stream:
            stream.seek(-self._offsets[name], os.SEEK_END)
            halves = np.fromfile(stream, dtype="<u2", count=prod(shape))
        return (halves.astype(np.uint32) << 16).view(np.float32).reshape(shape)


def open_tensors(paths: list[str]) -> Tensors:
    """Open the files of one network.

    Raises InputError when the package is missing, a file cannot be read, is no safetensors file, or repeats a name.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise InputError(
            "the package safetensors is missing: expected it installed, as by pip install 'promptcert[checkpoints]'"
        ) from None
    places: dict[str, _File] = {}
    for path in paths:
        try:
            with open(path, "rb"):
                pass
            file = _File(path, safe_open(path, framework="np"))
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
        except SafetensorError as error:
            raise InputError(f"{path}: expected a safetensors file, found: {' '.join(str(error).split())}") from None
        for name in file.handle.keys():  # noqa: SIM118
            if name in places:
                raise InputError(f"{path}: {name}: expected every tensor once, found it in {places[name].path} too")
            places[name] = file
    return Tensors(tuple(paths), places)
