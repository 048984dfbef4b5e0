"""JSON lines that people write: every usable line is kept, every malformed one is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from isodiff.errors import InputError
from isodiff.files import lines_of
from isodiff.serialization import first_error

T = TypeVar("T")
Fields = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class MalformedLine:
    """A line that cannot be used, counted from 1, and why."""

    line: int
    reason: str


class LineError(ValueError):
    """Why a line cannot be used."""


def read_json_lines(
    path: Path,
    parse: Callable[[Fields, int], T],
    *,
    what: str,
    wanted: str,
    limit: int | None = None,
) -> tuple[list[T], list[MalformedLine]]:
    """The first `limit` values of a file, and the malformed lines among them; blank lines are skipped.

    `parse` makes a value of a line's object and number; what it refuses is malformed.

    Raises:
        InputError: no such file, or no line of it is a `what`.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file; give JSON lines with {wanted}")
    values: list[T] = []
    malformed: list[MalformedLine] = []
    with path.open("rb") as file:
        for number, line in enumerate(lines_of(file, path), 1):
            if limit is not None and len(values) >= limit:
                break
            if not line.strip():
                continue
            try:
                values.append(parse(_fields(line), number))
            except ValidationError as error:
                malformed.append(MalformedLine(line=number, reason=first_error(error)))
            except LineError as error:
                malformed.append(MalformedLine(line=number, reason=str(error)))
    if not values:
        why = f"; line {malformed[0].line}: {malformed[0].reason}" if malformed else ""
        raise InputError(f"{path} has no {what}{why}; give JSON lines with {wanted}")
    return values, malformed


def _fields(line: bytes) -> Fields:
    try:
        fields = json.loads(line)
    except UnicodeDecodeError:
        raise LineError("not UTF-8") from None
    except ValueError as error:
        raise LineError(f"not JSON ({error})") from None
    if not isinstance(fields, dict):
        raise LineError("not a JSON object")
    return fields
