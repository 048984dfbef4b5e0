"""What a verb is made of: its commands, the answer they give, and how their work fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Answer(NamedTuple):
    """What a verb says: a JSON object (`--json`) and the same for people to read."""

    value: dict[str, Any]
    text: str


@dataclass(frozen=True, kw_only=True)
class Commands:
    """What a verb does, by the word that follows it: `isodiff plan study`.

    Attributes:
        what: what the word is, for messages.
        functions: each as `run` of a verb that does one thing.
        aliases: other names.
    """

    what: str = "command"
    functions: Mapping[str, Callable[..., Answer]]
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def resumable(function: _Function) -> _Function:
    """Mark a verb's function: interrupted and given again, the same command goes on."""
    function.resumable = True  # type: ignore[attr-defined]
    return function
