"""Files that are whole or absent: write under a temporary name, then rename. Reading has bounds."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from isodiff.errors import InputError

CHUNK = 2**24
LONGEST_LINE = 2**28
LARGEST_DOCUMENT = 2**30
_EMPTY_LINES = 10**6
_MOST_EXPANSION, _FREE_EXPANSION = 200, 2**26  # text packs to a tenth; a bomb to a thousandth


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by `data` in one step; a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """`write_bytes` for text, as UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """`write_bytes` for a JSON value, indented; NaN is refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The JSON value in a file.

    Raises:
        InputError: it does not exist, is no regular file, or `parse_json` refuses what it holds.
    """
    return parse_json(regular(path).read_bytes(), path)


def parse_json(data: bytes, where: str | Path) -> Any:
    """The JSON value that `data` is.

    Raises:
        InputError: it is damaged, nested too deeply, or holds NaN or half of a surrogate pair.
    """
    try:
        value = json.loads(data.decode("utf-8-sig"), parse_constant=_not_finite)
        if _HALF_PAIR.search(data):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise InputError(f"{where} is nested too deeply; restore or delete it") from None
    except UnicodeEncodeError:
        raise InputError(f"{where} holds half of a surrogate pair; restore or delete it") from None
    except _NotFinite as error:
        raise InputError(f"{where}: {error} is not a finite number; restore or delete it") from None
    except ValueError as error:
        raise InputError(f"{where} is not valid JSON ({error}); restore or delete it") from None
    return value


_HALF_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")


class _NotFinite(Exception):
    """A number that JSON does not have, as it is written."""


def _not_finite(constant: str) -> None:
    raise _NotFinite(constant)


_UNSTORED: ContextVar[list[OSError] | None] = ContextVar("_UNSTORED", default=None)


@contextmanager
def storing_last() -> Iterator[list[OSError]]:
    """Collects what `storing` meets within, so that an answer can be printed before it is said."""
    token = _UNSTORED.set(found := [])
    try:
        yield found
    finally:
        _UNSTORED.reset(token)


@contextmanager
def storing() -> Iterator[None]:
    """Around the writing of an answer that is returned as well: a disk that is full must not lose it."""
    try:
        yield
    except OSError as error:
        unstored = _UNSTORED.get()
        if unstored is None:
            raise
        unstored.append(error)


LOCK = ".lock"


@contextmanager
def exclusive(folder: Path, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold `folder` alone, waiting at most so long for another process to let go of it.

    The lock dies with its process, so `kill -9` leaves nothing behind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=wait_seconds)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(
            f"{folder} is in use by another isodiff process; wait for it or choose another folder"
        ) from None
    try:
        yield
    finally:
        lock.release()


def regular(path: Path) -> Path:
    """`path`, if it is a file: a named pipe or a device could hang or never end.

    Raises:
        InputError: it is something else, or does not exist.
    """
    if not path.is_file():
        what = "is no regular file" if path.exists() else "does not exist"
        raise InputError(f"{path} {'is a folder' if path.is_dir() else what}; give a file")
    return path


def unpacked(stream: IO[bytes] | io.BufferedIOBase, packed: IO[bytes], path: Path) -> IO[bytes]:
    """`stream`, which unpacks the open file `packed`; refused where far more comes out than text would give.

    Raises:
        InputError: on reading, where 64 MiB and 200 times what was read have come out.
    """
    return io.BufferedReader(_Unpacked(stream, packed, path), 2**20)


class _Unpacked(io.RawIOBase):
    """Counts what comes out."""

    def __init__(
        self, stream: IO[bytes] | io.BufferedIOBase, packed: IO[bytes], path: Path
    ) -> None:
        self._stream, self._packed, self._path, self._count = stream, packed, path, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        self._count += len(data)
        if self._count > max(_FREE_EXPANSION, _MOST_EXPANSION * self._packed.tell()):
            raise InputError(
                f"{self._path} unpacks to more than {_MOST_EXPANSION} times its size, as no text does; "
                "unpack it first if it is one"
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stream.close()
        self._packed.close()
        super().close()


def lines_of(stream: IO[bytes], path: Path) -> Iterator[bytes]:
    """The lines of a file, their ends included.

    Raises:
        InputError: one is longer than 256 MiB, or a million in a row are empty.
    """
    number = empty = 0
    while line := stream.readline(LONGEST_LINE + 1):
        number += 1
        empty = empty + 1 if len(line) == 1 else 0
        if len(line) > LONGEST_LINE:
            raise InputError(
                f"{path}, line {number} has more than {LONGEST_LINE:,} bytes; split it"
            )
        if empty > _EMPTY_LINES:
            raise InputError(f"{path} has {empty:,} empty lines up to line {number}; remove them")
        yield line


def parts_of(stream: IO[bytes], path: Path, mark: bytes | None = None) -> Iterator[bytes]:
    """What stands between the marks in a file; all of it where there is no mark.

    Raises:
        InputError: a part is larger than 1 GiB.
    """
    tail = bytearray()
    while chunk := stream.read(CHUNK):
        begin = 0 if mark is None else max(0, len(tail) - len(mark) + 1)
        tail += chunk
        if mark is not None and tail.find(mark, begin) >= 0:
            *whole, tail = tail.split(mark)
            yield from map(bytes, whole)
        if len(tail) > LARGEST_DOCUMENT:
            raise InputError(
                f"{path} has a document of more than {LARGEST_DOCUMENT:,} bytes; split it, or say what "
                "stands between documents (--separator)"
            )
    yield bytes(tail)
