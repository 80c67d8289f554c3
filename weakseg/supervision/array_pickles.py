"""Pickles of integer arrays by name, read without running any code from them.

Unpickling can call any importable function, so here it can import nothing: the few names that a stored numpy array
refers to are replaced by inert objects of this module, and every other name is refused. Before that the opcodes are
scanned, because some of them take much memory for one byte of file, and deeply nested tuples overflow the C stack when
they are hashed.
"""

from __future__ import annotations

import gzip
import io
import pickle
import pickletools
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weakseg.errors import UserError

MAX_PICKLE_BYTES = 256 * 2**20  # decompressed; SEC's published cues have 104 MB


MAX_OPCODES = 2_000_000  # SEC's published cues have 0.42 million


MAX_TUPLE_DEPTH = 20  # numpy's arrays need 3


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """The file's bytes, decompressed if it is a gzip file; never more than `max_bytes` of them are held.

    Raises:
        UserError: the file is missing, damaged, or holds more.
    """
    try:
        with path.open("rb") as file:
            is_gzip = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if is_gzip else path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read ({error}); give the file as SEC's authors published it") from error
    if len(content) > max_bytes:
        raise UserError(f"{path}: holds more than {max_bytes} bytes; refused")
    return bytes(content)


def read_arrays(path: Path) -> dict[str, NDArray[Any] | None]:
    """The entries of a pickled dict by key: integer arrays, or None for a value that is no array.

    Raises:
        UserError: the file is missing, damaged, too large, not a pickle of a dict, or refers to a name that a stored
        numpy array does not need.
    """
    content = read_bounded(path, MAX_PICKLE_BYTES)
    try:
        _refuse_greedy_opcodes(path, content)
        loaded = _ArrayUnpickler(path, content).load()
    except UserError:
        raise
    except Exception as error:  # a damaged pickle raises almost any exception
        raise UserError(f"{path}: not a pickle of numpy arrays ({type(error).__name__}: {error})") from error
    if not isinstance(loaded, dict):
        raise UserError(f"{path}: the pickle holds a {type(loaded).__name__}, not a dict of arrays")
    return {_as_text(key): getattr(value, "array", None) for key, value in loaded.items()}


def _refuse_greedy_opcodes(path: Path, content: bytes) -> None:
    """One byte can make a set or nest a tuple, five a memo of 2^32 places: bound opcodes, depth and places."""
    stack = _TupleDepths()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        memo_index = argument if "PUT" in opcode.name else 0
        if count >= MAX_OPCODES or not 0 <= int(memo_index or 0) < MAX_OPCODES:
            raise UserError(f"{path}: the pickle has more than {MAX_OPCODES} opcodes or memo places; refused")
        if stack.after(opcode, argument) > MAX_TUPLE_DEPTH:
            raise UserError(f"{path}: the pickle nests tuples more than {MAX_TUPLE_DEPTH} deep; refused")


class _TupleDepths:
    """The unpickler's stack with, in place of each object, how deeply tuples are nested in it."""

    def __init__(self) -> None:
        self._stack: list[int] = []
        self._marks: list[int] = []
        self._memo: dict[Any, int] = {}

    def after(self, opcode: pickletools.OpcodeInfo, argument: Any) -> int:
        """The depth of what `opcode` leaves on top of the stack; 0 if nothing."""
        name = opcode.name
        if name == "MARK":
            self._marks.append(len(self._stack))
        elif "GET" in name:
            self._stack.append(self._memo[int(argument)])
        elif "PUT" in name or name == "MEMOIZE":
            self._memo[len(self._memo) if name == "MEMOIZE" else int(argument)] = self._stack[-1]
        else:
            depth = max(self._popped(opcode), default=0) + name.startswith("TUPLE")
            self._stack.extend([depth] * len(opcode.stack_after))
        return self._stack[-1] if self._stack else 0

    def _popped(self, opcode: pickletools.OpcodeInfo) -> list[int]:
        count, popped = len(opcode.stack_before), list[int]()
        if pickletools.markobject in opcode.stack_before:
            start = self._marks.pop()
            popped, self._stack[start:] = self._stack[start:], []
            count = opcode.stack_before.index(pickletools.markobject)
        elif opcode.name == "POP" and self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()  # POP removes a mark if it is on top
            count = 0
        if count:
            popped += self._stack[-count:]
            del self._stack[-count:]
        return popped


class _StoredDtype:
    """What a pickled `numpy.dtype` turns into here: its code and byte order, integers only."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any, align: Any = 0, copy: Any = 0) -> None:
        self.code, self.order = _as_text(code), "|"

    def __setstate__(self, state: Any) -> None:
        self.order = _as_text(state[1])

    def resolve(self) -> np.dtype[Any]:
        if re.fullmatch(r"[iu][1248]", self.code) is None or self.order not in ("<", ">", "|", "="):
            raise ValueError(f"an array of type {self.order}{self.code}, need integers")
        return np.dtype(self.order + self.code)


class _StoredArray:
    """What a pickled `numpy.ndarray` turns into here; the pickle's BUILD sets `array`, from bytes alone."""

    __slots__ = ("array",)
    array: NDArray[Any]

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, is_fortran, data = state
        if not isinstance(dtype, _StoredDtype) or not isinstance(data, bytes):
            raise ValueError("an array that is not stored as plain bytes")
        flat = np.frombuffer(data, dtype=dtype.resolve())
        self.array = flat.reshape(shape, order="F" if is_fortran else "C")


class _StandIn:
    """Inert stand-in for an imported name. Called as that name would be, it returns a stored object."""

    __slots__ = ("_makes",)

    def __init__(self, makes: type | None) -> None:
        self._makes = makes

    def __call__(self, *arguments: Any) -> Any:
        if self._makes is _StoredArray:
            return _StoredArray()  # the arguments only say "ndarray, empty"
        if self._makes is None:
            raise ValueError("the class numpy.ndarray is called")
        return self._makes(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise ValueError("the pickle tries to change an imported name")


class _ArrayUnpickler(pickle.Unpickler):
    """Imports nothing: a name is one of the stand-ins, or refused."""

    def __init__(self, path: Path, content: bytes) -> None:
        # "bytes": strings of Python 2, the array data among them, stay bytes.
        super().__init__(io.BytesIO(content), encoding="bytes")
        self._path = path
        reconstruct = _StandIn(_StoredArray)
        self._stand_ins = {
            ("numpy.core.multiarray", "_reconstruct"): reconstruct,
            ("numpy._core.multiarray", "_reconstruct"): reconstruct,  # its name since numpy 2
            ("numpy", "ndarray"): _StandIn(None),
            ("numpy", "dtype"): _StandIn(_StoredDtype),
        }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._stand_ins[module, name]
        except KeyError:
            raise UserError(
                f"{self._path}: the pickle refers to {module}.{name}, which stored cues do not need and "
                "which may run code; refused. Give the file as SEC's authors published it"
            ) from None

    def persistent_load(self, pid: Any) -> Any:
        raise UserError(f"{self._path}: the pickle refers to an object outside itself; refused")


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return value.decode("latin1") if isinstance(value, bytes) else f"<{type(value).__name__}>"
