"""Specs written under earlier names: read with today's, identified as they were.

A run's identity is the hash of its spec's JSON, and its folder, its checkpoints and the runs that start from
it carry that hash. So a name that changes must not change it: files may hold either name, today's are
written, and the hash is taken over the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_FIRST_NAMES = {"adapt_every": "tune_every", "parametrization": "parametrisation"}
"""Today's name: the name that specs were first written and hashed with."""


def upgraded(value: Any) -> Any:
    """The JSON of a spec, or of anything that holds specs, in today's names."""
    return _renamed(value, {first: name for name, first in _FIRST_NAMES.items()})


def as_first_named(value: Any) -> Any:
    """The inverse of `upgraded`: what identities are hashed over."""
    return _renamed(value, _FIRST_NAMES)


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {names.get(key, key): _renamed(part, names) for key, part in value.items()}
    return [_renamed(part, names) for part in value] if isinstance(value, list) else value
