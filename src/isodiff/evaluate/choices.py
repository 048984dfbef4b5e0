r"""Multiple choice: the option whose text the model finds likeliest after its context.

    accuracy              argmin_j of the nats of a_j given q_j
    accuracy_per_byte     argmin_j of the same over the UTF-8 bytes of a_j
    accuracy_pmi          argmin_j of -log p(a_j | q_j) + log p(a_j), the last without any context
                          (pointwise mutual information, arXiv 2104.08315; two forwards, one noise)

For families with a bound all nats are those of the bound, under noise that options share (scoring.py), and
the race among options says how many draws each takes (race.py). Exact families take one forward per option.
A PMI is the difference of two bounds then: a score, no likelihood and no bound of one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from isodiff.data.qa_format import Malformed
from isodiff.data.tokenizer import Tokenizer
from isodiff.errors import InputError
from isodiff.evaluate.items import Item, Target, shortened, target
from isodiff.evaluate.scoring import Scorer, Scores
from isodiff.evaluate.sequential_test import Draw, Outcome, Pair, Rules, race
from isodiff.rng import Key
from isodiff.runs.intervals import wilson
from isodiff.runs.resumable import Pieces, anew

CRITERIA = ("accuracy", "accuracy_per_byte", "accuracy_pmi")


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """An item ready to be scored.

    Attributes:
        key: of its noise, the same for every option.
        num_bytes: of every option's answer.
    """

    item: Item
    key: Key
    targets: tuple[Target, ...]
    num_bytes: tuple[int, ...]
    shortened: bool


def entries(
    items: Sequence[Item], tokenizer: Tokenizer, length: int
) -> tuple[list[Entry], list[Malformed]]:
    """The items in tokens, and those that cannot be scored."""
    ready: list[Entry] = []
    unfit: list[Malformed] = []
    for item in items:
        try:
            whole = [target(tokenizer, one.context, one.continuation) for one in item.options]
            cut = shortened(whole, length)
        except InputError as error:
            unfit.append(Malformed(item.line, str(error)))
            continue
        num_bytes = tuple(one.num_bytes for one in item.options)
        fits = all(len(one) <= length for one in whole)
        ready.append(Entry(item, ("item", item.line), tuple(cut), num_bytes, not fits))
    return ready, unfit


def drawing(scorer: Scorer, ready: Sequence[Entry], *, pmi: bool = False) -> Draw:
    """Nats, nats per byte, and with `pmi` the difference to the nats without context, under draws."""
    options = [(i, j) for i, entry in enumerate(ready) for j in range(len(entry.targets))]
    keys = [ready[i].key for i, _ in options]
    observed = Scores(scorer, [ready[i].targets[j] for i, j in options], keys)
    alone = Scores(scorer, [ready[i].targets[j].alone for i, j in options] if pmi else [], keys)
    number = {pair: place for place, pair in enumerate(options)}

    def draw(pairs: Sequence[Pair], draws: range) -> Float[ndarray, "C P D"]:
        some = [number[pair] for pair in pairs]
        nats = observed.draw(some, draws)
        num_bytes = np.array([ready[i].num_bytes[j] for i, j in pairs])
        found = [nats, nats / num_bytes[:, None]]
        if pmi:
            found.append(nats - alone.draw(some, draws))
        return np.stack(found)

    return draw


@dataclass(frozen=True, slots=True)
class Choices:
    """What was chosen, by the race of each item."""

    ready: list[Entry]
    outcomes: list[Outcome]
    num_forwards: int

    def right(self, criterion: int) -> int:
        """Items whose right option is ahead under a criterion."""
        pairs = zip(self.ready, self.outcomes, strict=True)
        return sum(entry.item.gold == found.best[criterion] for entry, found in pairs)

    def undecided(self, criterion: int) -> int:
        """Items with more than one option left under a criterion."""
        return sum(found.undecided[criterion] for found in self.outcomes)

    def to_json(self) -> dict[str, Any]:
        """Accuracies with 95 % intervals (Wilson), what was left undecided, and what it took."""
        value: dict[str, Any] = {}
        num_items = len(self.ready)
        for number, name in enumerate(CRITERIA[: len(self.outcomes[0].best)]):
            right = self.right(number)
            value[name] = right / num_items
            value[f"{name}_interval"] = list(wilson(right, num_items))
            undecided = name.replace("accuracy", "undecided")
            value[undecided] = self.undecided(number)
        chance = sum(1 / len(entry.targets) for entry in self.ready) / num_items
        return {
            **value,
            "chance": chance,
            "num_items": num_items,
            "num_forwards": self.num_forwards,
            "num_options": sum(len(entry.targets) for entry in self.ready),
            "num_shortened": sum(entry.shortened for entry in self.ready),
        }

    def items_json(self) -> list[dict[str, Any]]:
        """Every item's answer: its line, the right option, the one chosen, nats and draws of all."""
        return [
            {
                "line": entry.item.line,
                "gold": entry.item.gold,
                "chosen": found.best[0],
                "undecided": found.undecided[0],
                "nats": found.scores[0].tolist(),
                "draws": list(found.draws),
            }
            for entry, found in zip(self.ready, self.outcomes, strict=True)
        ]


def choose(
    scorer: Scorer,
    ready: Sequence[Entry],
    rules: Rules | None = None,
    *,
    pmi: bool = False,
    pieces: Pieces = anew,
) -> Choices:
    """Race the options of every item, a batch of items at a time; an exact family needs no rules."""
    exact = scorer.family.kind == "exact"

    def raced(some: Sequence[Entry]) -> dict[str, Any]:
        before = scorer.num_forwards
        found = race(
            [len(entry.targets) for entry in some],
            drawing(scorer, some, pmi=pmi),
            None if exact else rules or Rules(),
            criteria=3 if pmi else 2,
        )
        spent = scorer.num_forwards - before
        return {"outcomes": [one.to_json() for one in found], "num_forwards": spent}

    found: list[Outcome] = []
    forwards = 0
    for some in together(ready, scorer.batch_tokens):
        value = pieces(len(some), partial(raced, some))
        found += map(Outcome.of, value["outcomes"])
        forwards += value["num_forwards"]
    return Choices(list(ready), found, forwards)


def together(ready: Sequence[Entry], batch_tokens: int) -> Iterator[list[Entry]]:
    """Items, in order, whose options have about so many tokens; one at least."""
    some: list[Entry] = []
    tokens = 0
    for entry in ready:
        size = sum(map(len, entry.targets))
        if some and tokens + size > batch_tokens:
            yield some
            some, tokens = [], 0
        some.append(entry)
        tokens += size
    if some:
        yield some
