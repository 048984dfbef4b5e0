"""Items of a benchmark: JSON lines in, options of context and continuation out, in text and in tokens.

Three formats, told apart by their keys; `gold` is the number of the right option, from 0:

    {"query": ..., "choices": [...], "gold": 0}                   one context, several continuations
    {"context_options": [...], "continuation": ..., "gold": 0}    several contexts, one continuation
    {"context": ..., "continuation": ...}                         one option: a text to be completed (cloze)

*The boundary.* White space at the end of a context belongs to the continuation, where tokenizers put it.
The whole is encoded at once; the first token in which it differs from the context alone is the first
scored. So the tokens are those of the text as it would be written, whatever merges across the boundary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, StrictInt

from isodiff.data.tokenizer import Tokenizer
from isodiff.errors import InputError
from isodiff.json_lines import Fields, LineError, MalformedLine, read_json_lines
from isodiff.rng import Key

_FORMATS = "query, choices, gold; context_options, continuation, gold; or context, continuation"
_Texts = Annotated[list[str], Field(min_length=2)]


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

    @classmethod
    def joined(cls, context: str, answer: str, joiner: str | None) -> Option:
        """With `joiner` between; None: a space, where neither brings white space."""
        if not answer.strip():
            raise LineError("an option without text has nothing to score")
        if joiner is None:
            joiner = "" if not context or context[-1].isspace() or answer[0].isspace() else " "
        return cls(*boundary(context, joiner + answer), answer)


@dataclass(frozen=True, slots=True)
class Item:
    """Options, one of them right, and the line that they come from."""

    line: int
    options: tuple[Option, ...]
    gold: int = 0


class _Continuations(BaseModel):
    query: str
    choices: _Texts
    gold: StrictInt


class _Contexts(BaseModel):
    context_options: _Texts
    continuation: str
    gold: StrictInt


class _Cloze(BaseModel):
    context: str
    continuation: str


def read_items(
    path: Path, *, joiner: str | None = None, limit: int | None = None
) -> tuple[list[Item], list[MalformedLine]]:
    """The first `limit` items of a file, and the malformed lines among them; blank lines are skipped.

    Raises:
        InputError: no such file, or no line of it is an item.
    """
    first: Item | None = None

    def parse(fields: Fields, line: int) -> Item:
        nonlocal first
        item = _item(fields, line, joiner)
        first = first or item
        if (len(item.options) == 1) != (len(first.options) == 1):
            raise LineError(
                f"choices and single continuations in one file; line {first.line} began"
            )
        return item

    return read_json_lines(path, parse, what="item", wanted=_FORMATS, limit=limit)


def _item(fields: Fields, line: int, joiner: str | None) -> Item:
    gold = 0
    if "choices" in fields:
        choices = _Continuations.model_validate(fields)
        pairs, gold = [(choices.query, answer) for answer in choices.choices], choices.gold
    elif "context_options" in fields:
        contexts = _Contexts.model_validate(fields)
        pairs = [(context, contexts.continuation) for context in contexts.context_options]
        gold = contexts.gold
    elif "continuation" in fields:
        cloze = _Cloze.model_validate(fields)
        pairs = [(cloze.context, cloze.continuation)]
    else:
        raise LineError(f"keys {', '.join(map(repr, fields)) or 'none'}; wanted {_FORMATS}")
    if not 0 <= gold < len(pairs):
        raise LineError(f"gold is {gold}; wanted the number of an option, 0 to {len(pairs) - 1}")
    return Item(line, tuple(Option.joined(*pair, joiner) for pair in pairs), gold)


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

    @classmethod
    def encoded(
        cls, tokenizer: Tokenizer, context: str, continuation: str, *, end: bool = False
    ) -> Target:
        """Encoded at once and divided where context and whole part ways; `end` adds the end of a document.

        Raises:
            InputError: nothing is left to score, or the tokenizer cannot encode the text.
        """
        whole, known = tokenizer.encode_divided(context, continuation)
        if known == len(whole):
            raise InputError("the target is empty; there is nothing to score")
        return cls(np.append(whole, tokenizer.eos) if end else whole, known)

    def windows(self, length: int) -> list[Target]:
        """The target in parts of at most `length` tokens, each of its tokens in one of them.

        One that fits is left as it is. Otherwise the first part has at most half a window of context, the
        others none but the last, which has as much as fits (lm-evaluation-harness adds one token).
        """
        if len(self) <= length:
            return [self]
        parts = []
        start, room = self.known, length - min(self.known, length // 2)
        while start < len(self):
            stop = min(start + room, len(self))
            first = max(0, stop - length)
            parts.append(Target(self.ids[first:stop], start - first))
            start, room = stop, length
        return parts


def shortened(targets: Sequence[Target], length: int) -> list[Target]:
    """The targets of one item in at most `length` tokens each, all contexts cut by as much, from the left.

    Each alone has to fit.
    """
    excess = max(len(one) for one in targets) - length
    if excess <= 0:
        return list(targets)
    cuts = [min(excess, one.known) for one in targets]
    return [Target(one.ids[cut:], one.known - cut) for one, cut in zip(targets, cuts, strict=True)]


@dataclass(frozen=True, slots=True, eq=False)
class TokenizedItem:
    """An item in tokens that fit.

    Attributes:
        key: of its noise, the same for every option.
        shortened: whether contexts lost their beginnings.
    """

    item: Item
    targets: tuple[Target, ...]
    shortened: bool

    @property
    def key(self) -> Key:
        """Of its random numbers, the same for every option."""
        return ("item", self.item.line)


class TokenizedItems(NamedTuple):
    """The items of a file in tokens, and those that are left out.

    Attributes:
        too_long: lines of items with a target that alone is longer than the run.
        longest: tokens of their longest targets.
        malformed: those that the tokenizer cannot encode.
    """

    ready: list[TokenizedItem]
    too_long: list[int]
    longest: int
    malformed: list[MalformedLine]

    def usable(
        self, where: str | Path, length: int, malformed: Sequence[MalformedLine]
    ) -> TokenizedItems:
        """The same with lines of the file that were malformed before.

        Raises:
            InputError: nothing is ready for a run of this length.
        """
        found = self._replace(malformed=sorted([*malformed, *self.malformed]))
        if self.ready:
            return found
        if self.too_long:
            why = (
                f"{len(self.too_long)} are too long: targets have up to {self.longest} tokens, the run takes "
                f"{length}; take a run of greater length"
            )
        else:
            why = f"line {found.malformed[0].line}: {found.malformed[0].reason}"
        raise InputError(f"{where} has no item that fits; {why}")

    @property
    def left_out(self) -> dict[str, Any]:
        """What results say of it."""
        return {
            "num_malformed": len(self.malformed),
            "malformed": tuple(self.malformed),
            "num_too_long": len(self.too_long),
            "share_too_long": len(self.too_long) / (len(self.ready) + len(self.too_long)),
            "too_long": tuple(self.too_long),
            "longest": self.longest or None,
        }


def tokenize_items(
    items: Sequence[Item], tokenizer: Tokenizer, length: int, *, documents: bool = False
) -> TokenizedItems:
    """The items in at most `length` tokens; as `documents` they have their end, and no context is cut."""
    ready: list[TokenizedItem] = []
    too_long: dict[int, int] = {}
    malformed: list[MalformedLine] = []
    for item in items:
        try:
            whole = [
                Target.encoded(tokenizer, o.context, o.continuation, end=documents)
                for o in item.options
            ]
        except InputError as error:
            malformed.append(MalformedLine(line=item.line, reason=str(error)))
            continue
        longest = max(len(one if documents else one.alone) for one in whole)
        if longest > length:
            too_long[item.line] = longest
        else:
            cut = shortened(whole, length)
            ready.append(TokenizedItem(item, tuple(cut), max(map(len, whole)) > length))
    return TokenizedItems(ready, list(too_long), max(too_long.values(), default=0), malformed)
