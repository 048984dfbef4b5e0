"""Results as JSON and back: frozen dataclasses everywhere inside, plain values in files and on stdout.

A result is a frozen dataclass whose fields are numbers, text, None, and tuples, dicts and dataclasses of
such. Its JSON has the fields' names, or their aliases (`Annotated[float, Field(alias="N^2/3")]`). Keys that
this version does not know are ignored, so that later files stay readable.

A file ends with the key `checksum`, the SHA-256 of all its other keys without blanks, so that a byte that
changed on a disk is noticed. Files without one (of earlier versions, or made by hand) are read too.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, PlainSerializer, TypeAdapter, ValidationError

from isodiff.bounds import first_wrong
from isodiff.errors import InputError, without_folders
from isodiff.files import read_json, write_json

T = TypeVar("T")
_CHECKSUM = "checksum"
_MEND = "; restore or delete it"


def _is_none(value: object) -> bool:
    return value is None


IfAny = Annotated[T | None, Field(exclude_if=_is_none)]
"""`reason: IfAny[str] = None`: a field that the JSON mentions only where there is something to say."""


Said = Annotated[str, PlainSerializer(without_folders)]
"""Text for people that may name files: where they lie on this machine stays out of results."""


def canonical(value: Any) -> str:
    """The one text of a JSON value: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def to_json(result: Any) -> Any:
    """A result, or tuples and dicts of results, as plain JSON values."""
    if isinstance(result, dict):
        return {key: to_json(value) for key, value in result.items()}
    if isinstance(result, list | tuple):
        return [to_json(value) for value in result]
    if not dataclasses.is_dataclass(result):
        return result
    return _adapter(type(result)).dump_python(result, mode="json", by_alias=True)


def from_json(
    kind: type[T], value: Any, where: str | Path, mend: str = _MEND, *, strict: bool = False
) -> T:
    """The inverse of `to_json`; `where` names the file (and line) in an error, `mend` ends it.

    A `strict` reader does not take text that looks like a number for one, as the cells of a table are.

    Raises:
        InputError: `value` is not the JSON of a `kind`; says which key is wrong.
    """
    try:
        if strict:
            return _adapter(kind).validate_json(_text(value, where, mend), strict=True)
        return _adapter(kind).validate_python(value)
    except ValidationError as error:
        raise InputError(f"{where}: {first_wrong(error)}{mend}") from None


def read_result(kind: type[T], path: Path, mend: str = _MEND) -> T:
    """The result that a file holds.

    Raises:
        InputError: no such file, not the JSON of a `kind`, or altered since it was written.
    """
    try:
        return _adapter(kind).validate_json(_unsealed(path, mend)[1], strict=True)
    except ValidationError as error:
        raise InputError(f"{path}: {first_wrong(error)}{mend}") from None


def write_result(path: Path, result: Any) -> None:
    """Write a result as JSON with its checksum, in one step; results by name with a checksum each."""
    value = to_json(result)
    if isinstance(result, dict) and result and all(map(dataclasses.is_dataclass, result.values())):
        value = {
            name: entry | {_CHECKSUM: _digest(_compact({name: entry}))}
            for name, entry in value.items()
        }
    elif isinstance(value, dict) and value:
        value |= {_CHECKSUM: _digest(_compact(value))}
    write_json(path, value)


def read_sealed(path: Path, mend: str = _MEND) -> Any:
    """The JSON value of a file without its checksum, which has to fit if there is one.

    Raises:
        InputError: no such file, damaged, or altered since it was written.
    """
    return _unsealed(path, mend)[0]


def _unsealed(path: Path, mend: str) -> tuple[Any, str]:
    """That value and its text."""
    value = read_json(path)
    checksum = value.pop(_CHECKSUM, None) if isinstance(value, dict) else None
    entries = value.items() if isinstance(value, dict) and checksum is None else ()
    own = {
        name: entry.pop(_CHECKSUM)
        for name, entry in entries
        if isinstance(entry, dict) and _CHECKSUM in entry
    }
    text = _text(value, path, mend)
    whole = checksum in (None, _digest(text))
    if not whole or any(
        checksum != _digest(_compact({name: value[name]})) for name, checksum in own.items()
    ):
        raise InputError(f"{path} was altered: its checksum does not fit{mend}")
    return value, text


def _text(value: Any, where: str | Path, mend: str = _MEND) -> str:
    """`_compact` of what a file holds; `InputError` where it is too deep or a number is not finite."""
    try:
        return _compact(value)
    except RecursionError:
        raise InputError(f"{where} is nested too deeply{mend}") from None
    except ValueError:
        raise InputError(f"{where} holds a number that is not finite{mend}") from None


def _compact(value: Any) -> str:
    """The form of a JSON value that checksums are of: without blanks, keys in their order."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
