"""Which runs of a study share a trunk (train/branching.py). No torch.

Runs of schedule "wsd" that differ in nothing but their budgets warm up for the same number of steps, the
recipe's share of the smallest budget's, unless the study says how many. The longest of them is the trunk,
the others begin at their cooldowns. Families that choose options on the way (`adapt_every`) find their
number of steps on the way, too, so each of their runs is trained from its first step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from isodiff.record import canonical
from isodiff.runs.spec import RunSpec


class Origin(NamedTuple):
    """Which run does the first `start` steps of another; None and 0 for the run itself."""

    trunk: str | None = None
    start: int = 0


def alike(specs: Sequence[RunSpec]) -> list[list[int]]:
    """Indices of runs that differ in nothing but their budgets."""
    groups: dict[str, list[int]] = {}
    for index, spec in enumerate(specs):
        kind = {name: value for name, value in spec.to_json().items() if name != "budget"}
        groups.setdefault(canonical(kind), []).append(index)
    return list(groups.values())


def warmed_up(specs: Sequence[RunSpec], steps: Sequence[float]) -> list[RunSpec]:
    """The runs with the steps of their warm-up filled in where budgets have to share it."""
    found = list(specs)
    for group in alike(specs):
        recipe = specs[group[0]].recipe
        if recipe.schedule == "wsd" and recipe.warmup_steps is None:
            warmup = recipe.warmup_of(min(steps[i] for i in group))
            recipe = dataclasses.replace(recipe, warmup_steps=warmup)
            for i in group:
                found[i] = dataclasses.replace(specs[i], recipe=recipe)
    return found


def origins(specs: Sequence[RunSpec], steps: Sequence[float]) -> list[Origin]:
    """Where each run begins."""
    found = [Origin()] * len(specs)
    for group in alike(specs):
        first = specs[group[0]]
        if first.recipe.schedule != "wsd" or first.family.get("adapt_every"):
            continue
        trunk = max(group, key=lambda i: steps[i])
        for i in group:
            if specs[i].id != specs[trunk].id:
                found[i] = Origin(specs[trunk].id, first.recipe.stable(steps[i]))
    return found
