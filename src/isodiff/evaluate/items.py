"""Items of a benchmark: JSON lines in, options of context and continuation out, in text and in tokens.

Three formats, told apart by their keys; `gold` is the number of the right option, from 0:

    {"query": ..., "choices": [...], "gold": 0}                   one context, several continuations
    {"context_options": [...], "continuation": ..., "gold": 0}    several contexts, one continuation
    {"context": ..., "continuation": ...}                         one option: a text to be foretold

*The boundary.* White space at the end of a context belongs to the continuation, where tokenizers put it.
The whole is encoded at once; the first token in which it differs from the context alone is the first
scored. So the tokens are those of the text as it would be written, whatever merges across the boundary.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isodiff.data.qa_format import Malformed
from isodiff.data.tokenizer import Tokenizer
from isodiff.errors import InputError

FORMS = "query, choices, gold; context_options, continuation, gold; or context, continuation"


@dataclass(frozen=True, slots=True)
class Option:
    """A context, what may follow it, and the part of that which is the answer itself."""

    context: str
    continuation: str
    answer: str

    @property
    def num_bytes(self) -> int:
        """UTF-8 bytes of the answer, without what joins it to its context."""
        return len(self.answer.encode())


@dataclass(frozen=True, slots=True)
class Item:
    """Options, one of them right, and the line that they come from."""

    line: int
    options: tuple[Option, ...]
    gold: int = 0


class Wrong(ValueError):
    """Why a line is no item."""


def read_items(
    path: Path, *, joiner: str | None = None, limit: int | None = None
) -> tuple[list[Item], list[Malformed]]:
    """The first `limit` items of a file, and the malformed lines among them; blank lines are skipped.

    `joiner` stands between context and continuation; None: a space, where neither brings white space.

    Raises:
        InputError: no such file, or no line of it is an item.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file; give JSON lines with {FORMS}")
    items: list[Item] = []
    malformed: list[Malformed] = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if limit is not None and len(items) >= limit:
            break
        if not line.strip():
            continue
        try:
            item = item_of(parsed(line), number, joiner)
            if items and (len(item.options) == 1) != (len(items[0].options) == 1):
                raise Wrong(
                    f"choices and single continuations in one file; line {items[0].line} began"
                )
            items.append(item)
        except Wrong as error:
            malformed.append(Malformed(number, str(error)))
    if not items:
        why = f"; line {malformed[0].line}: {malformed[0].reason}" if malformed else ""
        raise InputError(f"{path} has no item{why}; give JSON lines with {FORMS}")
    return items, malformed


def parsed(line: bytes) -> dict[str, Any]:
    """The object of a line."""
    try:
        fields = json.loads(line)
    except UnicodeDecodeError:
        raise Wrong("not UTF-8") from None
    except ValueError as error:
        raise Wrong(f"not JSON ({error})") from None
    if not isinstance(fields, dict):
        raise Wrong("not a JSON object")
    return fields


def item_of(fields: dict[str, Any], line: int, joiner: str | None) -> Item:
    """The item of a line's object, in whichever of the three formats it is."""
    if "choices" in fields:
        context, answers = text(fields, "query"), texts(fields, "choices")
        pairs = [(context, answer) for answer in answers]
    elif "context_options" in fields:
        answer = text(fields, "continuation")
        pairs = [(context, answer) for context in texts(fields, "context_options")]
    elif "continuation" in fields:
        return Item(line, (option(text(fields, "context"), text(fields, "continuation"), joiner),))
    else:
        raise Wrong(f"keys {', '.join(map(repr, fields)) or 'none'}; wanted {FORMS}")
    gold = fields.get("gold")
    if not isinstance(gold, int) or isinstance(gold, bool) or not 0 <= gold < len(pairs):
        raise Wrong(f"gold is {gold!r}; wanted the number of an option, 0 to {len(pairs) - 1}")
    return Item(line, tuple(option(*pair, joiner) for pair in pairs), gold)


def text(fields: dict[str, Any], name: str) -> str:
    """The string under a name."""
    value = fields.get(name)
    if not isinstance(value, str):
        raise Wrong(f"no text under {name!r}")
    return value


def texts(fields: dict[str, Any], name: str) -> list[str]:
    """Two or more strings under a name."""
    value = fields.get(name)
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise Wrong(f"no list of texts under {name!r}")
    if len(value) < 2:
        raise Wrong(
            f"{name!r} offers {len(value)} option{'s' * (len(value) != 1)}; wanted 2 or more"
        )
    return value


def option(context: str, answer: str, joiner: str | None) -> Option:
    """Joined, the boundary where it belongs."""
    if not answer.strip():
        raise Wrong("an option without text has nothing to score")
    if joiner is None:
        joiner = "" if not context or context[-1].isspace() or answer[0].isspace() else " "
    return Option(*boundary(context, joiner + answer), answer)


def boundary(context: str, continuation: str) -> tuple[str, str]:
    """The same text with the white space that ends the context moved to the continuation."""
    kept = context.rstrip()
    return kept, context[len(kept) :] + continuation


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """A text in tokens, of which the first `known` are given and the others scored."""

    ids: NDArray[np.int64]
    known: int

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def alone(self) -> Target:
        """What is scored, without its context."""
        return Target(self.ids[self.known :], 0)


def target(tokenizer: Tokenizer, context: str, continuation: str) -> Target:
    """Encoded at once and divided where context and whole part ways.

    Raises:
        InputError: nothing is left to score, or the tokenizer cannot write the text.
    """
    whole = tokenizer.encode(context + continuation)
    before = tokenizer.encode(context)[: len(whole)]
    same = whole[: len(before)] == before
    known = len(before) if same.all() else int(same.argmin())
    if known == len(whole):
        raise InputError("the target is empty; there is nothing to score")
    return Target(whole, known)


def shortened(targets: Sequence[Target], length: int) -> list[Target]:
    """The targets of one item in at most `length` tokens each, all contexts cut by as much, from the left.

    Raises:
        InputError: a target alone is longer.
    """
    for one in targets:
        if len(one.alone) > length:
            raise InputError(
                f"a target of {len(one.alone)} tokens does not fit into {length}, the length of the run; "
                "shorten it or take a run of greater length"
            )
    excess = max(len(one) for one in targets) - length
    if excess <= 0:
        return list(targets)
    cuts = [min(excess, one.known) for one in targets]
    return [Target(one.ids[cut:], one.known - cut) for one, cut in zip(targets, cuts, strict=True)]


def windows(whole: Target, length: int) -> list[Target]:
    """The target in pieces of at most `length` tokens, each of its tokens in one of them.

    One that fits is left as it is. Otherwise the first piece has at most half a window of context, the others
    none but the last, which has as much as fits (as in lm-evaluation-harness, which adds one token).
    """
    if len(whole) <= length:
        return [whole]
    pieces = []
    start, room = whole.known, length - min(whole.known, length // 2)
    while start < len(whole):
        stop = min(start + room, len(whole))
        first = max(0, stop - length)
        pieces.append(Target(whole.ids[first:stop], start - first))
        start, room = stop, length
    return pieces
