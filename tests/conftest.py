"""Shapes and types of the mathematics are checked at run time in every test (jaxtyping, beartype)."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import sys
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import jaxtyping
import pytest

CHECKED = [
    "isodiff.categorical",
    "isodiff.families",
    "isodiff.network.view",
    "isodiff.process",
    "isodiff.rng",
]
assert not set(CHECKED) & set(sys.modules), "the import hook must come before the imports"


def checked_at_new_shapes(
    jaxtyped: Callable[..., Any], *, typechecker: Any
) -> Callable[[Any], Any]:
    """The decorator that the import hook puts on everything, at a third of the tests' time.

    A function is checked at the first call with each combination of shapes, dtypes, types and integers, and
    at the second, fourth, eighth, ... call with the same: what a check finds hardly depends on more.
    """

    def sampled(plain: Callable[..., Any], checked: Callable[..., Any]) -> Callable[..., Any]:
        calls: Counter[Hashable] = Counter()

        @functools.wraps(plain)
        def call(*args: Any, **named: Any) -> Any:
            key = (*map(kind, args), *named, *map(kind, named.values()))
            calls[key] += 1
            often = calls[key]
            return (plain if often & (often - 1) else checked)(*args, **named)

        return call

    def decorate(thing: Any) -> Any:
        if not inspect.isclass(thing):
            return sampled(thing, jaxtyped(thing, typechecker=typechecker))
        plain = thing.__init__
        checked = jaxtyped(thing, typechecker=typechecker)
        if checked.__init__ is not plain:
            checked.__init__ = sampled(plain, checked.__init__)
        return checked

    return decorate


def kind(value: Any) -> Hashable:
    """What a check of the argument may depend on."""
    if (dtype := getattr(value, "dtype", None)) is not None:
        return value.shape, dtype
    return value if isinstance(value, int) else type(value)


jaxtyping.jaxtyped = functools.partial(checked_at_new_shapes, jaxtyping.jaxtyped)
jaxtyping.install_import_hook(CHECKED, "beartype.beartype")

if importlib.util.find_spec("torch") is not None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def float64() -> Iterator[None]:
    """float64 as the default, for tests that claim exactness."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)
