"""Results as JSON and back: frozen dataclasses everywhere inside, plain values in files and on stdout.

A result is a frozen dataclass whose fields are numbers, text, None, and tuples, dicts and dataclasses of
such. Its JSON has the fields' names, or their aliases (`Annotated[float, Field(alias="N^2/3")]`). Keys that
this version does not know are ignored, so that later files stay readable.
"""

from __future__ import annotations

import dataclasses
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
    if not dataclasses.is_dataclass(result):
        return result
    return _adapter(type(result)).dump_python(result, mode="json", by_alias=True)


def from_json(
    kind: type[T], value: Any, where: str | Path, mend: str = "; restore or delete it"
) -> T:
    """The inverse of `to_json`; `where` names the file (and line) in an error, `mend` ends it.

    Raises:
        InputError: `value` is not the JSON of a `kind`; says which key is wrong.
    """
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError as error:
        raise InputError(f"{where}: {first_error(error)}{mend}") from None


def read_result(kind: type[T], path: Path) -> T:
    """The result that a file holds.

    Raises:
        InputError: no such file, or not the JSON of a `kind`.
    """
    return from_json(kind, read_json(path), path)


def write_result(path: Path, result: Any) -> None:
    """Write a result as JSON, in one step."""
    write_json(path, to_json(result))


def first_error(error: ValidationError) -> str:
    """The first thing that is wrong: `nats: input should be greater than 0, not '-1'`."""
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"])) or "the file"
    what = first["msg"].split(", unable to")[0]
    got = first["input"]
    plain = first["type"] != "missing" and (got is None or isinstance(got, str | int | float))
    return f"{key}: {what[:1].lower()}{what[1:]}{f', not {got!r}' if plain else ''}"


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
