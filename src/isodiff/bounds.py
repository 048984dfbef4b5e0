"""Numbers and words with their bounds, as types: the command line, YAML files and Python share them.

A dataclass that is `Checked` holds what its annotations say, however it is made:

    batch_size: Count = 16
    learning_rate: Positive = 5e-3

Nothing is converted: text is no number, and true is not 1. Upper bounds lie where no machine comes, so that
a slip of the hand is an error rather than work without end.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, get_type_hints

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from isodiff.errors import InputError, nearest, shown

T = TypeVar("T")


def _no_truth(value: T) -> T:
    """YAML's `yes` is true, which Python takes for 1."""
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


def _sayable(text: str) -> str:
    """Half a surrogate pair stands for a byte that is not UTF-8; a NUL ends names in C."""
    if re.search("[\ud800-\udfff\0]", text):
        raise ValueError("must be UTF-8 text without NUL characters")
    return text


def _divisor(value: float) -> float:
    if 0 < value < 1e-6:
        raise ValueError("must be 0 or at least 1e-06")
    return value


def _device(text: str) -> str:
    """Whether it is there is for torch to say."""
    if not re.fullmatch(r"cpu|mps|(cuda|xpu)(:\d{1,4})?", text, re.ASCII):
        raise ValueError("must be cpu, cuda, cuda:1, ... or another device of torch")
    return text


def _folder_name(text: str) -> str:
    if not re.fullmatch(r"[^\W_][\w .+=,@-]{0,99}", text) or text[-1] in " .":
        raise ValueError(
            "must be one folder name, of letters, digits, spaces and _.+=,@-, the first a letter or digit"
        )
    return text


def _distinct(values: list[T]) -> list[T]:
    """No value twice; 1 and 1.0 are one."""
    for index, value in enumerate(values):
        if value in values[:index]:
            raise ValueError(f"has {shown(value)} twice")
    return values


_Int = Annotated[int, BeforeValidator(_no_truth)]
_Float = Annotated[float, BeforeValidator(_no_truth), Field(allow_inf_nan=False)]

Count = Annotated[_Int, Field(ge=1, le=10**9)]
Whole = Annotated[_Int, Field(ge=0, le=10**9)]
Several = Annotated[_Int, Field(ge=2, le=10**9)]
"""Of what is averaged with a standard error."""
FewTimes = Annotated[_Int, Field(ge=1, le=10**6)]
"""How often something is done that takes a network: steps, noise draws."""
VocabularySize = Annotated[_Int, Field(ge=1, le=10**8)]
ShapeCount = Annotated[_Int, Field(ge=1, le=10**6)]
TimesOrNone = Annotated[_Int, Field(ge=0, le=10**6)]
TokenCount = Annotated[_Int, Field(ge=1, le=10**6)]
"""Of what a network reads at a time."""
TrainedTokens = Annotated[_Int, Field(ge=1, le=10**15)]
"""Of what a network learned from."""
SeedNumber = Annotated[_Int, Field(ge=0, lt=2**63)]
ThreadCount = Annotated[_Int, Field(ge=1, le=1024)]
ThreadCountOrNone = Annotated[_Int, Field(ge=0, le=1024)]
Fraction = Annotated[_Float, Field(ge=0, le=1)]
SomeFraction = Annotated[_Float, Field(gt=0, le=1)]
PartFraction = Annotated[_Float, Field(gt=0, lt=1)]
Decay = Annotated[_Float, Field(ge=0, lt=1)]
Finite = Annotated[_Float, Field(ge=-1e6, le=1e6)]
Interval = Annotated[_Float, Field(ge=0, le=1e9)]
"""Of time, in seconds."""
TimeLimit = Annotated[_Float, Field(ge=1, le=1e6)]
"""In seconds."""
Positive = Annotated[_Float, Field(gt=0, le=1e15)]
NonNegative = Annotated[_Float, Field(ge=0, le=1e6)]
LearningRate = Annotated[_Float, Field(gt=0, le=1e6)]
Temperature = Annotated[_Float, Field(ge=0, le=1e6), AfterValidator(_divisor)]
"""0 stands for the limit."""
DividingTemperature = Annotated[_Float, Field(ge=1e-6, le=1e6)]
RotaryBase = Annotated[_Float, Field(ge=1, le=1e12)]
FlopCount = Annotated[_Float, Field(gt=0, le=1e35)]

Utf8 = Annotated[str, AfterValidator(_sayable)]
DeviceName = Annotated[str, AfterValidator(_device)]
FolderName = Annotated[str, AfterValidator(_folder_name)]
Some = Annotated[list[T], Field(min_length=1), AfterValidator(_distinct)]
"""A list that is not empty and holds nothing twice."""


class Checked:
    """A dataclass whose fields are of their types, bounds included."""

    __slots__ = ()

    def __post_init__(self) -> None:
        cls = type(self)
        check_fields(cls, {name: getattr(self, name) for name in _hints(cls)})


def check_fields(cls: type, values: Mapping[str, Any]) -> None:
    """That values of some fields of a dataclass are of their types.

    Raises:
        InputError: one is not.
    """
    called = getattr(cls, "called", "")
    for name, value in values.items():
        check(_hints(cls)[name], value, f"{called}: {name}" if called else name)


def check(hint: Any, value: Any, name: str) -> None:
    """That a value is of a type, bounds included.

    Raises:
        InputError: it is not; says so of `name`.
    """
    try:
        _adapter(hint).validate_python(value, strict=True)
    except ValidationError as error:
        raise InputError(first_wrong(error, name)) from None


def first_wrong(error: ValidationError, name: str = "") -> str:
    """The first thing that is wrong, and where: `budgets[1].flops must be more than 0, got -1`."""
    first = error.errors(include_url=False)[0]
    for part in first["loc"]:
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else part
    said = _wrong(first)
    return f"{name} {said}" if name and said.startswith(("must ", "has ", "is missing")) else said


def _wrong(error: Mapping[str, Any]) -> str:
    """What is wrong with a value, of one of pydantic's errors: `must be at least 1, got 0`."""
    kind, limits, value = error["type"], error.get("ctx", {}), error["input"]
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        said = str(limits["error"])
        return (
            f"{said}, got {shown(value)}"
            if said.startswith("must be") and "got " not in said
            else said
        )
    if kind == "literal_error":
        choices = limits["expected"].replace(" or ", ", ")
        near = nearest(value, re.findall("'([^']*)'", choices)) if isinstance(value, str) else ""
        return f"must be one of {choices}, got {shown(value)}{near}"
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        limit = limits[key]
        said = f"must be {words} {limit:g}" if limit < 1e6 else f"must be {words} {limit:.3g}"
        return f"{said}, got {shown(value)}"
    if kind in ("too_short", "string_too_short"):
        least = limits["min_length"]
        return (
            "must not be empty"
            if least == 1
            else f"must have at least {least} entries, got {len(value)}"
        )
    for start, words in _KINDS.items():
        if kind.startswith(start):
            return f"must be {words}, got {shown(value)}"
    said = error["msg"].removeprefix("Input should ").partition(", unable")[0]
    return f"must {said[:1].lower()}{said[1:]}, got {shown(value)}"


_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}
_KINDS = {
    "finite_number": "a finite number",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "list": "a list",
    "dict": "a mapping",
    "dataclass": "a mapping",
}


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    hints = get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}  # type: ignore[arg-type]


@functools.cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    own = dataclasses.is_dataclass(hint)  # has its own configuration, or none
    return TypeAdapter(hint, config=None if own else ConfigDict(allow_inf_nan=False))
