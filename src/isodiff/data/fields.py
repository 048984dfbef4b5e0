"""Documents in fields: JSON lines, tables with a row of names, Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from isodiff.errors import InputError, reason
from isodiff.files import LONGEST_LINE, lines_of, parts_of


class Document(NamedTuple):
    """A text and where it stands, for error messages."""

    text: str
    origin: str


def utf8_text(data: bytes, path: Path, offset: int) -> str:
    """UTF-8, or an error that names the file and the first wrong byte."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        where = offset + error.start
        raise InputError(
            f"{path} is not UTF-8: byte 0x{data[error.start]:02x} at offset {where}; "
            "convert it first, e.g. with iconv"
        ) from None


def read_json_documents(file: IO[bytes], path: Path, field: str, offset: int) -> Iterator[Document]:
    """One JSON object per line with the text in `field`; empty lines are skipped."""
    for number, line in enumerate(lines_of(file, path), 1):
        origin = f"{path}, line {number}"
        text = utf8_text(line, path, offset)
        offset += len(line)
        if not text.strip():
            continue
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"{origin} is not valid JSON ({reason(error)}); one object per line was wanted"
            ) from None
        if not isinstance(value, dict):
            raise InputError(f"{origin} is not a JSON object; one object per line was wanted")
        if field not in value:
            names = ", ".join(value) or "none"
            raise InputError(
                f"{origin} has no field {field!r} (fields: {names}); choose --text-field"
            )
        yield document_in(value[field], field, origin)


def document_in(text: Any, field: str, origin: str) -> Document:
    """The document in a field; null counts as empty."""
    if not isinstance(text, str | None):
        kind = type(text).__name__
        raise InputError(f"{origin}: field {field!r} is not text but {kind}; choose --text-field")
    try:
        (text or "").encode()
    except UnicodeEncodeError as error:  # JSON can hold half a character
        raise InputError(
            f"{origin}: character {error.start} is half of a surrogate pair, which UTF-8 cannot hold; mend "
            "or remove it"
        ) from None
    return Document(text or "", origin)


def read_table(
    file: IO[bytes], path: Path, field: str, offset: int, delimiter: str
) -> Iterator[Document]:
    """The column `field` of a table with a row of names, quoted as spreadsheets do (RFC 4180)."""

    def decoded() -> Iterator[str]:
        at = offset
        for line in lines_of(file, path):
            yield utf8_text(line, path, at)
            at += len(line)

    csv.field_size_limit(LONGEST_LINE)  # of 131,072 characters, which is too little for a document
    rows = csv.reader(decoded(), delimiter=delimiter, strict=True)
    column, names, begin = -1, [], 1
    try:
        for row in rows:
            origin, begin = f"{path}, line {begin}", rows.line_num + 1
            if not row:
                continue
            if not names:
                names, column = row, column_of(row, field, str(path))
            elif len(row) != len(names):
                raise InputError(
                    f"{origin} has {len(row)} columns, the first line {len(names)}; mend it"
                )
            else:
                yield document_in(row[column], field, origin)
    except csv.Error as error:
        raise InputError(
            f"{path}, line {begin} is malformed ({error}); mend or remove it"
        ) from None


def column_of(names: Sequence[str], field: str, origin: str) -> int:
    """Which column is called `field`: exactly one."""
    if names.count(field) != 1:
        many = "no" if field not in names else "more than one"
        raise InputError(
            f"{origin} has {many} column {field!r} (columns: {', '.join(names)}); choose --text-field"
        )
    return names.index(field)


def read_parquet(file: IO[bytes], path: Path, field: str) -> Iterator[Document]:
    """The column `field`, batch by batch."""
    import pyarrow as pa
    from pyarrow import parquet

    number = 0
    try:
        # Parquet is read from its end.
        whole = file if file.seekable() else io.BytesIO(next(parts_of(file, path)))
        table = parquet.ParquetFile(whole)
        column_of(table.schema_arrow.names, field, str(path))
        for batch in table.iter_batches(batch_size=256, columns=[field]):
            for value in batch.column(0).to_pylist():
                yield document_in(value, field, f"{path}, row {number}")
                number += 1
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault, not the file's
        raise InputError(
            f"{path} is not a readable Parquet file, from row {number} on: {reason(error)}"
        ) from None
