r"""Multiple choice: the option whose text the model finds likeliest after its context.

    accuracy              argmin_j of the nats of a_j given q_j
    accuracy_per_byte     argmin_j of the same over the UTF-8 bytes of a_j
    accuracy_pmi          argmin_j of -log p(a_j | q_j) + log p(a_j), the last without any context
                          (pointwise mutual information, arXiv 2104.08315; two forwards, one noise)

For families with a bound all nats are those of the bound, under noise that options share (scoring.py), and
a sequential test among options says how many draws each takes. Exact families take one forward per option.
A PMI is the difference of two bounds then: a score, no likelihood and no bound of one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from isodiff.evaluate.items import TokenizedItem
from isodiff.evaluate.scoring import Scorer, TargetScores
from isodiff.evaluate.sequential_test import (
    Decision,
    DrawScores,
    ItemOption,
    StoppingRule,
    sequential_test,
)
from isodiff.families.base import Family, kind_and_law
from isodiff.intervals import SuccessRate
from isodiff.runs.resumable import Pieces, anew
from isodiff.serialization import from_json, to_json
from isodiff.task_results import ChoiceResult, ItemResult


def option_scores(
    scorer: Scorer, items: Sequence[TokenizedItem], *, per_byte: bool = True, pmi: bool = False
) -> DrawScores:
    """Nats, `per_byte` too, and with `pmi` the difference to the nats without context, under draws."""
    options = [(i, j) for i, item in enumerate(items) for j in range(len(item.targets))]
    keys = [items[i].key for i, _ in options]
    targets = [items[i].targets[j] for i, j in options]
    given = TargetScores(scorer, targets, keys)
    alone = TargetScores(scorer, [target.alone for target in targets] if pmi else [], keys)
    number = {pair: n for n, pair in enumerate(options)}

    def draw(pairs: Sequence[ItemOption], draws: range) -> Float[ndarray, "C P D"]:
        some = [number[pair] for pair in pairs]
        nats = given.draw(some, draws)
        scores = [nats]
        if per_byte:
            num_bytes = np.array([items[i].item.options[j].num_bytes for i, j in pairs])
            scores.append(nats / num_bytes[:, None])
        if pmi:
            scores.append(nats - alone.draw(some, draws))
        return np.stack(scores)

    return draw


@dataclass(frozen=True, kw_only=True, slots=True)
class _Batch:
    decisions: tuple[Decision, ...]
    num_forwards: int


def choose(
    scorer: Scorer,
    items: Sequence[TokenizedItem],
    rule: StoppingRule | None = None,
    *,
    per_byte: bool = True,
    pmi: bool = False,
    pieces: Pieces = anew,
) -> tuple[list[Decision], int]:
    """Decide every item, a batch at a time, and count the forwards; an exact family needs no rule."""
    exact = scorer.family.kind == "exact"

    def decided(some: Sequence[TokenizedItem]) -> dict[str, object]:
        before = scorer.num_forwards
        decisions = sequential_test(
            [len(item.targets) for item in some],
            option_scores(scorer, some, per_byte=per_byte, pmi=pmi),
            None if exact else rule or StoppingRule(),
            criteria=1 + per_byte + pmi,
        )
        forwards = scorer.num_forwards - before
        return to_json(_Batch(decisions=tuple(decisions), num_forwards=forwards))

    decisions: list[Decision] = []
    forwards = 0
    for some in _batches(items, scorer.batch_tokens):
        batch = from_json(_Batch, pieces(len(some), partial(decided, some)), "a kept piece")
        decisions += batch.decisions
        forwards += batch.num_forwards
    return decisions, forwards


def _batches(items: Sequence[TokenizedItem], batch_tokens: int) -> Iterator[list[TokenizedItem]]:
    """Items, in order, whose options have about so many tokens; one at least."""
    some: list[TokenizedItem] = []
    tokens = 0
    for item in items:
        size = sum(map(len, item.targets))
        if some and tokens + size > batch_tokens:
            yield some
            some, tokens = [], 0
        some.append(item)
        tokens += size
    if some:
        yield some


def choice_result(
    items: Sequence[TokenizedItem], decisions: Sequence[Decision], num_forwards: int
) -> ChoiceResult:
    """Accuracies with their intervals, what was left undecided, every item's answer, and what it took."""
    pairs = [*zip(items, decisions, strict=True)]

    def rate(criterion: int) -> SuccessRate:
        right = sum(one.item.gold == decision.best[criterion] for one, decision in pairs)
        return SuccessRate.of(right, len(items))

    def undecided(criterion: int) -> int:
        return sum(decision.undecided[criterion] for decision in decisions)

    nats, per_byte = rate(0), rate(1)
    pmi = rate(2) if len(decisions[0].best) > 2 else None
    return ChoiceResult(
        accuracy=nats.value,
        accuracy_interval=nats.interval,
        undecided=undecided(0),
        accuracy_per_byte=per_byte.value,
        accuracy_per_byte_interval=per_byte.interval,
        undecided_per_byte=undecided(1),
        accuracy_pmi=pmi and pmi.value,
        accuracy_pmi_interval=pmi and pmi.interval,
        undecided_pmi=undecided(2) if pmi else None,
        chance=sum(1 / len(one.targets) for one in items) / len(items),
        num_items=len(items),
        num_forwards=num_forwards,
        num_options=sum(len(one.targets) for one in items),
        num_shortened=sum(one.shortened for one in items),
        items=item_results(items, decisions),
    )


def item_results(
    items: Sequence[TokenizedItem], decisions: Sequence[Decision]
) -> tuple[ItemResult, ...]:
    """Every item's answer by nats."""
    return tuple(
        ItemResult(
            line=one.item.line,
            gold=one.item.gold,
            chosen=decision.best[0],
            undecided=decision.undecided[0],
            nats=decision.scores[0],
            draws=decision.draws,
        )
        for one, decision in zip(items, decisions, strict=True)
    )


def how_chosen(family: Family, rule: StoppingRule, seed: int, what: str = "option") -> str:
    """The protocol of decisions among options, or whatever they are called."""
    if family.kind == "exact":
        return f"exact, one forward per {what}"
    test = f"sequential test at error {rule.error:g}" if rule.race else "none dropped on the way"
    return (
        f"{kind_and_law(family)}, {'at most ' if rule.race else ''}{rule.most} draws per {what} under common "
        f"noise, {test}, seed {seed}"
    )
