"""Results as JSON and back: frozen dataclasses everywhere inside, plain values in files and on stdout.

A result is a frozen dataclass whose fields are numbers, text, None, and tuples, dicts and dataclasses of
such. Its JSON has the fields' names, or their aliases (`Annotated[float, Field(alias="N^2/3")]`). Keys that
this version does not know are ignored, so that later files stay readable.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from isodiff.errors import InputError
from isodiff.files import read_json, write_json

T = TypeVar("T")


def _is_none(value: object) -> bool:
    return value is None


IfAny = Annotated[T | None, Field(exclude_if=_is_none)]
"""`reason: IfAny[str] = None`: a field that the JSON mentions only where there is something to say."""


def to_json(result: Any) -> Any:
    """A result, or tuples and dicts of results, as plain JSON values."""
    if isinstance(result, dict):
        return {key: to_json(value) for key, value in result.items()}
    if isinstance(result, list | tuple):
        return [to_json(value) for value in result]
    return _adapter(type(result)).dump_python(result, mode="json", by_alias=True)


def from_json(kind: type[T], value: Any, where: str | Path) -> T:
    """The inverse of `to_json`; `where` names the file in an error.

    Raises:
        InputError: `value` is not the JSON of a `kind`; says which key is wrong.
    """
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(f"{where}: {key}: {first['msg'].lower()}; restore or delete it") from None


def read_result(kind: type[T], path: Path) -> T:
    """The result that a file holds.

    Raises:
        InputError: no such file, or not the JSON of a `kind`.
    """
    return from_json(kind, read_json(path), path)


def write_result(path: Path, result: Any) -> None:
    """Write a result as JSON, in one step."""
    write_json(path, to_json(result))


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
