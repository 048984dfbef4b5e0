"""Which runs of a study share a prefix (train/branching.py). No torch.

Runs of schedule "wsd" that differ in nothing but their budgets warm up for the same number of steps, the
recipe's share of the smallest budget's, unless the study says how many. The longest of them is trained from
its first step, the others branch off it at their cooldowns. Families that choose options on the way
(`adapt_every`) find their number of steps on the way, too, so each of their runs is trained by itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from isodiff.runs.spec import RunSpec
from isodiff.serialization import canonical


class BranchPoint(NamedTuple):
    """The run that does the first `step` steps of another; None and 0 where it does them itself."""

    longest: str | None = None
    step: int = 0


def with_shared_warmup(
    specs: Sequence[RunSpec], steps: Sequence[float], known: Sequence[RunSpec] = ()
) -> list[RunSpec]:
    """The runs with the steps of their warm-up filled in where budgets have to share it.

    A run of `known` settles those of runs that differ from it in nothing but their budgets.
    """
    found = list(specs)
    settled = {_kind(one, warm=False): one.recipe.warmup_steps for one in known}
    for group in _alike(specs):
        recipe = specs[group[0]].recipe
        if recipe.schedule == "wsd" and recipe.warmup_steps is None:
            warmup = settled.get(_kind(specs[group[0]], warm=False))
            warmup = warmup or recipe.warmup_of(min(steps[i] for i in group))
            recipe = dataclasses.replace(recipe, warmup_steps=warmup)
            for i in group:
                found[i] = dataclasses.replace(specs[i], recipe=recipe)
    return found


def branch_points(specs: Sequence[RunSpec], steps: Sequence[float]) -> list[BranchPoint]:
    """Where each run branches off."""
    found = [BranchPoint()] * len(specs)
    for group in _alike(specs):
        first = specs[group[0]]
        if first.recipe.schedule != "wsd" or first.family.get("adapt_every"):
            continue
        longest = max(group, key=lambda i: steps[i])
        for i in group:
            if specs[i].id != specs[longest].id:
                found[i] = BranchPoint(specs[longest].id, first.recipe.stable(steps[i]))
    return found


def _alike(specs: Sequence[RunSpec]) -> list[list[int]]:
    """Indices of runs that differ in nothing but their budgets."""
    groups: dict[str, list[int]] = {}
    for index, spec in enumerate(specs):
        groups.setdefault(_kind(spec), []).append(index)
    return list(groups.values())


def _kind(spec: RunSpec, *, warm: bool = True) -> str:
    """All of a spec but its budget, and but for the steps of its warm-up unless `warm`."""
    recipe = spec.recipe if warm else dataclasses.replace(spec.recipe, warmup_steps=None)
    return canonical(dataclasses.replace(spec, budget=1.0, recipe=recipe).to_json())
