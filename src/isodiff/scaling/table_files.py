"""Tables as people have them, as rows of named cells: CSV, TSV, JSON, JSON lines, Parquet, packed or not.

Cells stay what the file holds (text in CSV, numbers in JSON); `scaling/tables.py` says what they mean.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isodiff.errors import InputError, reason
from isodiff.text_files import COMPRESSED, opened

LARGEST_TABLE = 64 << 20
"""Bytes of a table, unpacked."""
MOST_CELLS = 5_000_000
_DELIMITERS = ",\t;|"
_WRAPPERS = ("data", "runs", "points", "rows", "records")
"""Keys under which a JSON file may hold its list of rows."""
_OURS = {"spec", "law"}
"""Keys of the JSON that isodiff writes of a run and of a law."""
_REFUSED = {
    ".zip": "unpack it",
    ".xls": "save the sheet as CSV",
    ".xlsx": "save the sheet as CSV",
    ".ods": "save the sheet as CSV",
    ".feather": "save it as Parquet or CSV",
    ".arrow": "save it as Parquet or CSV",
    ".pkl": "pickles are never opened; save it as Parquet or CSV",
    ".pickle": "pickles are never opened; save it as Parquet or CSV",
    ".npy": "save it as CSV with a line of column names",
    ".npz": "save it as CSV with a line of column names",
}

Cells = Mapping[str, Any]
"""A row: what each column holds; a column that it lacks holds None, or is absent."""


@dataclass(frozen=True, slots=True)
class TableFile:
    """A table as it lies in a file: its column names, and its rows with the place of each."""

    path: Path
    header: tuple[str, ...]
    rows: tuple[tuple[str, Cells], ...]


def is_table(path: Path) -> bool:
    """Whether a path is to be read as a table: by its name, and of JSON also by what it holds."""
    kind = _kind(path)
    if path.is_dir():
        return False
    if kind == ".json":
        if not path.is_file():
            return False
        try:
            value = json.loads(_text(path, _bytes(path)))
        except (InputError, ValueError, RecursionError):
            return path.suffix.lower() != kind  # what reads other JSON says what is wrong
        return not (isinstance(value, dict) and _OURS & set(value))
    return kind in _READERS or kind in _REFUSED


def load_table(path: Path) -> TableFile:
    """The table in a file; the suffix says which kind, and anything unknown is delimited text.

    Raises:
        InputError: there is no such file, or it is not such a table; names the line.
    """
    kind = _kind(path)
    if kind in _REFUSED:
        raise InputError(f"{path} cannot be read as a table of points; {_REFUSED[kind]}")
    data = _bytes(path)
    read = _parquet if data.startswith(b"PAR1") else _READERS.get(kind, _delimited)
    header, rows = read(path, data)
    return TableFile(path, header, rows)


def _kind(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
        return suffixes[-1] if suffixes and suffixes[-1] in _READERS else ".csv"
    return suffixes[-1] if suffixes else ""


def _bytes(path: Path) -> bytes:
    """The file unpacked, read no further than a table can reach."""
    with opened(path) as file:
        data = file.read(LARGEST_TABLE + 1)
    if len(data) > LARGEST_TABLE:
        raise InputError(
            f"{path} holds more than {LARGEST_TABLE >> 20} MB; a table of points is small"
        )
    return data


def _text(path: Path, data: bytes) -> str:
    try:
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return data.decode("utf-16")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; save the table as UTF-8") from None


def _check_cells(path: Path, num: int) -> None:
    if num > MOST_CELLS:
        raise InputError(f"{path} has more than {MOST_CELLS:,} cells; a table of points is small")


_Content = tuple[tuple[str, ...], tuple[tuple[str, Cells], ...]]


def _delimited(path: Path, data: bytes) -> _Content:
    """Cells parted by what the line of names has most of: comma, tab, semicolon, bar; or by blanks."""
    text = _text(path, data)
    lines = (line for line in text.splitlines() if line.strip())
    first = next((line for line in lines if not line.startswith("#")), "")
    delimiter = max(_DELIMITERS, key=first.count)
    if delimiter not in first:  # blanks, then: as many as line the columns up
        delimiter, text = " ", "\n".join(line.strip() for line in text.splitlines())
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=delimiter == " ")
    header: tuple[str, ...] = ()
    rows: list[tuple[str, Cells]] = []
    try:
        for row in reader:
            where, cells = f"{path}, line {reader.line_num}", [cell.strip() for cell in row]
            if not any(cells) or (not header and cells[0].startswith("#")):
                continue
            if not header:
                header = tuple(cells)
            elif len(cells) != len(header):
                raise InputError(f"{where}: {len(cells)} cells under {len(header)} column names")
            else:
                rows.append((where, dict(zip(header, cells, strict=True))))
                _check_cells(path, len(rows) * len(header))
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: not CSV ({error})") from None
    return header, tuple(rows)


def _json_lines(path: Path, data: bytes) -> _Content:
    rows = []
    for number, line in enumerate(_text(path, data).split("\n"), 1):
        if line.strip():
            where = f"{path}, line {number}"
            rows.append((where, _flat(_value(where, line), where)))
    return _named(rows)


def _json(path: Path, data: bytes) -> _Content:
    value = _value(str(path), _text(path, data))
    try:
        records = list(_records(value))
    except (TypeError, AttributeError, ValueError):
        raise InputError(
            f"{path} holds no table; give a list of objects, or an object of columns"
        ) from None
    places = [f"{path}, row {n}" for n in range(1, len(records) + 1)]
    if len(records) == 1:
        places = [str(path)]
    return _named(
        [(where, _flat(record, where)) for where, record in zip(places, records, strict=True)]
    )


def _records(value: Any) -> Iterator[Any]:
    """The rows of the JSON that pandas, Weights & Biases and people write."""
    if isinstance(value, list):
        yield from value
    elif isinstance(value.get("columns"), list) and isinstance(value.get("data"), list):
        yield from (dict(zip(value["columns"], row, strict=True)) for row in value["data"])
    elif wrapped := [value[key] for key in _WRAPPERS if isinstance(value.get(key), list)]:
        yield from wrapped[0]
    elif value and all(isinstance(cells, dict) for cells in value.values()):
        if all(
            key.isdigit() for cells in value.values() for key in cells
        ):  # columns of numbered rows
            order = {key: None for cells in value.values() for key in cells}
            yield from ({name: value[name].get(key) for name in value} for key in order)
        else:
            yield from ({"id": name, **cells} for name, cells in value.items())
    elif _is_columns(value):
        yield from (dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True))
    else:
        yield value


def _is_columns(value: Mapping[str, Any]) -> bool:
    lists = [cells for cells in value.values() if isinstance(cells, list)]
    return len(lists) == len(value) > 0 and len({len(cells) for cells in lists}) == 1


def _value(where: str, text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise InputError(f"{where}: JSON nested too deeply for a table") from None
    except ValueError as error:
        raise InputError(f"{where}: not JSON ({reason(error)})") from None


def _flat(record: Any, where: str) -> Cells:
    """`{"a": {"b": [1]}}` as `{"a.b.0": 1}`."""
    if not isinstance(record, dict):
        raise InputError(f"{where}: a row is an object of named values, not {str(record)[:40]!r}")
    cells: dict[str, Any] = {}
    todo = [(str(key), value) for key, value in reversed(record.items())]
    while todo:
        name, value = todo.pop()
        inner = value if isinstance(value, dict) else None
        if isinstance(value, list):
            inner = dict(enumerate(value))
        if inner is None:
            cells[name] = value
        else:
            todo += [(f"{name}.{key}", inner[key]) for key in reversed(inner)]
    return cells


def _named(rows: Sequence[tuple[str, Cells]]) -> _Content:
    return tuple({name: None for _, cells in rows for name in cells}), tuple(rows)


def _parquet(path: Path, data: bytes) -> _Content:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise InputError(f"{path}: reading Parquet needs pyarrow; pip install pyarrow") from None
    try:
        file = ParquetFile(io.BytesIO(data))
        _check_cells(path, file.metadata.num_rows * file.metadata.num_columns)
        records = file.read().to_pylist()
    except (ArrowException, OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not Parquet ({reason(error)}); is it damaged?") from None
    rows = [(f"{path}, row {n}", record) for n, record in enumerate(records, 1)]
    return _named([(where, _flat(record, where)) for where, record in rows])


_READERS: dict[str, Callable[[Path, bytes], _Content]] = {
    ".csv": _delimited,
    ".tsv": _delimited,
    ".tab": _delimited,
    ".txt": _delimited,
    ".json": _json,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".jsonlines": _json_lines,
    ".parquet": _parquet,
    ".pq": _parquet,
}
