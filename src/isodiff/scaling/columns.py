"""Which column of a table is which: by usual names, or as `--columns C=compute_budget,N=params` says."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isodiff.errors import InputError, nearest
from isodiff.scaling.column_names import (
    ALIASES,
    COUNTS,
    alias_of,
    as_number,
    last_part,
    unit_of,
    words_of,
)
from isodiff.scaling.table_files import Cells, TableFile

_LETTERS = {"budget": "C", "parameters": "N", "tokens": "D", "nats": "loss"}
_LEGEND = "columns are " + ",".join(
    [
        "family",
        "budget",
        "parameters",
        "tokens",
        "nats",
        "[standard_error",
        "unique_tokens",
        "kind]",
    ]
)
_MEASURED = {*COUNTS, "unique_tokens", "nats", "standard_error"}
_GROUPS = {"objective", "architecture", "arch", "experiment", "dataset", "dataset name", "corpus"}
"""Names that tell families only where several runs share each value."""
_FEWEST = 3
_LISTED = re.compile(r"\.\d+(\.|$)")
"""Inside a list of a JSON file: taken only if chosen."""
_SIDE_LOSSES = {"z", "aux", "auxiliary", "balancing", "router", "smooth", "std", "best"}
"""Words of losses that are not the one of the model."""
_PERPLEXITY = {"perplexity", "ppl", "val ppl", "val perplexity", "validation perplexity"}
_NOT_NATS = _PERPLEXITY | {"bpb", "val bpb", "bits per byte", "bits per token", "bpc", "bpd"}


@dataclass(frozen=True, slots=True)
class FieldSource:
    """What gives a field: the product of columns and of a number, or a text that is the same for all rows."""

    factors: tuple[str, ...] = ()
    scale: float = 1.0
    literal: str | None = None

    def cell(self, cells: Cells) -> Any:
        """What a row holds: text or a number as it is; a product, as far as its factors are numbers."""
        if self.literal is not None:
            return self.literal
        values = [cells.get(name) for name in self.factors]
        if len(values) == 1 and self.scale == 1:
            return values[0]
        product = self.scale
        for value in values:
            number = as_number(value)
            if not isinstance(number, float):
                return value
            product *= number
        return product

    def __str__(self) -> str:
        if self.literal is not None:
            return repr(self.literal)
        factors = [repr(name) for name in self.factors]
        if self.scale != 1 or not factors:
            factors.append(f"{self.scale:g}")
        return " x ".join(factors)


def parse_columns(text: str) -> dict[str, str]:
    """`C=compute_budget,N=params` as fields of a point and what gives each.

    Raises:
        InputError: not of this form, or an unknown or repeated field.
    """
    found: dict[str, str] = {}
    for part in re.split(r",(?=[^,=]*=)", text):
        name, sign, column = (piece.strip() for piece in part.partition("="))
        if not sign or not name or not column:
            raise InputError(f"--columns takes C=COLUMN,N=COLUMN,..., got {part[:80]!r}")
        plain = words_of(name)
        fields = [f for f, names in ALIASES.items() if plain in names or name == f]
        if not fields:
            near = nearest(name, [*_LETTERS.values(), *ALIASES])
            raise InputError(
                f"--columns knows no field {name[:80]!r}{near or '; one of ' + ', '.join(ALIASES)}"
            )
        if fields[0] in found:
            raise InputError(f"--columns gives {fields[0]} twice")
        found[fields[0]] = column
    return found


def find_columns(
    table: TableFile, chosen: Mapping[str, str], rows: Sequence[Cells]
) -> dict[str, FieldSource]:
    """The column of each field that the table has; `rows` are those of all tables read together.

    Raises:
        InputError: the loss, or two of C, N and D, cannot be told; a chosen column is not there.
    """
    where = f"{table.path}, line 1"
    if not table.header:
        raise InputError(f"{table.path} is empty; {_LEGEND}")
    found = {field: _chosen(table, field, said) for field, said in chosen.items()}
    taken = {name for column in found.values() for name in column.factors}
    for field in ALIASES:
        if field in found:
            continue
        free = [name for name in table.header if name not in taken]
        column = _by_name(table, field, free, rows)
        if column is not None:
            found[field] = column
            taken.update(column.factors)
    if "nats" not in found:
        _refuse_loss(where, [name for name in table.header if name not in taken])
    have = [field for field in COUNTS if field in found]
    if len(have) < 2:
        missing = next(field for field in reversed(COUNTS) if field not in found)
        raise InputError(f"{where}: {_missing(missing, table.header, taken)}")
    for name, num in Counter(table.header).items():
        if num > 1 and any(name in column.factors for column in found.values()):
            raise InputError(f"{where}: column {name!r} stands twice; {_LEGEND}")
    return found


def misspelled(table: TableFile, found: Mapping[str, FieldSource]) -> list[str]:
    """Words about columns that are left unread, yet look like a field that is not there."""
    read = {name for column in found.values() for name in column.factors}
    said = []
    for name in table.header:
        for field in ("family", "kind", "standard_error", "unique_tokens"):
            if name not in read and field not in found and _close(field, name):
                said.append(f"{table.path}: column {name!r} is not read; did you mean {field!r}?")
    return said


def _close(field: str, name: str) -> bool:
    """Whether a column's name is nearly one that people use for a field."""
    names = [alias for alias in ALIASES[field] if len(alias) > 2]
    return bool(difflib.get_close_matches(words_of(name), names, n=1, cutoff=0.8))


def _chosen(table: TableFile, field: str, said: str) -> FieldSource:
    """What `--columns FIELD=...` says: a column, `=text`, or a product of columns and numbers."""
    if said.startswith("="):
        return FieldSource(literal=said[1:])
    whole = _in_header(said, table.header)
    if whole is not None:
        return FieldSource((whole,), scale=unit_of(field, last_part(whole))[1])
    factors, scale = [], 1.0
    for part in map(str.strip, said.split("*")):
        name, number = _in_header(part, table.header), as_number(part)
        if name is not None:
            factors.append(name)
        elif isinstance(number, float):
            scale *= number
        else:
            near = nearest(part, table.header) or f"; there are {_listed(table.header)}"
            fixed = f"; the same text for all rows is {field}=={part}" if field == "family" else ""
            raise InputError(f"{table.path}: no column {part[:80]!r} for {field}{near}{fixed}")
    return FieldSource(tuple(factors), scale)


def _in_header(name: str, header: Sequence[str]) -> str | None:
    """The column of this name; without case where only one is called so."""
    if name in header:
        return name
    alike = [column for column in header if column.lower() == name.lower()]
    return alike[0] if len(alike) == 1 else None


def _by_name(
    table: TableFile, field: str, free: Sequence[str], rows: Sequence[Cells]
) -> FieldSource | None:
    """The free column with the surest name for a field.

    Raises:
        InputError: several are called so, alike.
    """
    names = ALIASES[field]
    ranks: dict[int, list[tuple[str, float]]] = {}
    unlisted = [name for name in dict.fromkeys(free) if not _LISTED.search(name)]
    for name in unlisted:
        plain, scale = alias_of(field, name)
        if plain in names and (len(plain) > 1 or _is_letter(plain, name, rows)):
            ranks.setdefault(names.index(plain), []).append((name, scale))
    for rank in sorted(ranks):
        alike = ranks[rank]
        if names[rank] in _GROUPS and not _tells_groups(rows, alike[0][0]):
            continue
        whole = [one for one in alike if words_of(one[0]) == last_part(one[0])]
        alike = whole or alike  # a name without a path before those with one, N before n
        alike = [one for one in alike if one[0].isupper()] or alike
        if len(alike) > 1 and field in _MEASURED:
            raise InputError(
                f"{table.path}: several columns may be {field}: {_listed([n for n, _ in alike])}; "
                f"choose by --columns {_LETTERS.get(field, field)}=COLUMN"
            )
        return FieldSource((alike[0][0],), alike[0][1])
    if field == "nats":
        ending = [name for name in dict.fromkeys(free) if _may_be_loss(name)]
        return FieldSource((ending[0],)) if len(ending) == 1 else None
    return None


def _is_letter(plain: str, name: str, rows: Sequence[Cells]) -> bool:
    """Whether a column called C, N, D, L or U is one: it is not if it holds text, nor is l an L."""
    cells = [as_number(row.get(name)) for row in rows]
    text = cells and all(isinstance(cell, str) for cell in cells)
    return (plain != "l" or name == "L") and not text


def _may_be_loss(name: str) -> bool:
    words = words_of(name).split()
    return words[-1:] == ["loss"] and not _SIDE_LOSSES & set(words)


def _tells_groups(rows: Sequence[Cells], name: str) -> bool:
    values = {str(cells.get(name)) for cells in rows}
    return len(rows) >= _FEWEST * len(values)


def _refuse_loss(where: str, header: Sequence[str]) -> None:
    losses = [name for name in header if "loss" in name.lower() or "entropy" in name.lower()]
    other = [name for name in header if words_of(name) in _NOT_NATS]
    if not losses and other:
        how = "its logarithm is" if words_of(other[0]) in _PERPLEXITY else "bits times ln 2 are"
        raise InputError(
            f"{where}: {other[0]!r} is no loss in nats; add a column of nats per token ({how} nats)"
        )
    if losses:
        raise InputError(
            f"{where}: which column is the loss? name one by --columns loss=COLUMN; "
            f"there are {_listed(losses)}"
        )
    raise InputError(f"{where}: {_missing('nats', header, ())}")


def _missing(field: str, header: Sequence[str], taken: Any) -> str:
    free = [name for name in header if name not in taken]
    near = next((name for name in free if _close(field, name)), None)
    meant = f"; did you mean {near!r}?" if near else ""
    letter = _LETTERS[field]
    how = f"two of C, N and D are needed; {_LEGEND}" if field in COUNTS else _LEGEND
    return f"column {field!r} is missing{meant}; name it by --columns {letter}=COLUMN; {how}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:60]) for name in names[:4])
    return shown + (f" and {len(names) - 4} more" if len(names) > 4 else "")
