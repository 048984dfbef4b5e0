"""Specs written under earlier names: read with today's, identified as they were.

A run's identity is the hash of its spec's JSON, and its folder, its checkpoints and the runs that start from
it carry that hash. So a name that changes must not change it: files may hold either name, `to_json` writes
today's, and the hash is taken over the first.
"""

from __future__ import annotations

from typing import Any

FIRST_NAMES = {
    ("family", "adapt_every"): "tune_every",
    ("recipe", "parametrization"): "parametrisation",
}
"""(part of a spec, today's name): the name that specs were first written and hashed with."""


def upgraded(spec: Any) -> Any:
    """A spec's JSON in today's names; anything else as it is, for the validation to refuse."""
    return _renamed(spec, {(part, old): new for (part, new), old in FIRST_NAMES.items()})


def as_first_named(spec: Any) -> Any:
    """The inverse of `upgraded`: what identities are hashed over."""
    return _renamed(spec, FIRST_NAMES)


def _renamed(spec: Any, names: dict[tuple[str, str], str]) -> Any:
    if not isinstance(spec, dict):
        return spec
    return {
        part: {names.get((part, key), key): inner for key, inner in value.items()}
        if isinstance(value, dict)
        else value
        for part, value in spec.items()
    }
