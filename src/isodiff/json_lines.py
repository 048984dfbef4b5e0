"""JSON lines that people write: every usable line is kept, every malformed one is named."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from isodiff.bounds import first_wrong
from isodiff.errors import InputError, reason
from isodiff.files import lines_of
from isodiff.text_files import begin_text, opened

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
    with opened(path) as file:
        begin_text(file, path)
        for number, line in enumerate(lines_of(file, path), 1):
            if limit is not None and len(values) >= limit:
                break
            if not line.strip():
                continue
            try:
                values.append(parse(_fields(line), number))
            except ValidationError as error:
                malformed.append(MalformedLine(line=number, reason=first_wrong(error)))
            except LineError as error:
                malformed.append(MalformedLine(line=number, reason=str(error)))
    if not values:
        why = f"; line {malformed[0].line}: {malformed[0].reason}" if malformed else ""
        raise InputError(f"{path} has no {what}{why}; give JSON lines with {wanted}")
    return values, malformed


def _fields(line: bytes) -> Fields:
    try:
        fields = json.loads(line.decode(), object_pairs_hook=_once)
        json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeDecodeError:
        raise LineError("not UTF-8") from None
    except UnicodeEncodeError:
        raise LineError("half of a surrogate pair, which UTF-8 cannot hold") from None
    except LineError:
        raise
    except (ValueError, RecursionError) as error:
        raise LineError(f"not JSON ({reason(error)})") from None
    if not isinstance(fields, dict):
        raise LineError("not a JSON object")
    return fields


def _once(pairs: list[tuple[str, Any]]) -> Fields:
    """An object whose keys stand in it once."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise LineError(f"the key {twice!r} stands there twice")
    return fields
