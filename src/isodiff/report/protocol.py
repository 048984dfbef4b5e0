"""How the numbers of a report came about: text, compute, noise, fits, versions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from isodiff.report.folder import StudyFolder
from isodiff.scaling.fitting.bootstrap import LEVEL
from isodiff.units import clock

Entries = list[tuple[str, str]]

CONVENTIONS = {
    "budget": "the budget each run was given",
    "exact": "matrix products and attended pairs of the views a family trains on, forward and "
    "backward",
    "no_attention": "blocks and a head at every clean position, no attention scores",
    "6ND": "6 × non-embedding parameters × clean tokens",
}


def protocol(study: StudyFolder) -> Entries:
    """Terms and what they mean in this study, in reading order."""
    entries = [
        ("Corpus", describe(study.study.corpus)),
        ("Matched compute", matched(study)),
        *shared(study),
        ("Validation", validation(study)),
        (
            "= and ≤",
            "= is an exact loss, ≤ an upper bound (a negative evidence lower bound): the true loss "
            "of that family is at most the number shown.",
        ),
        (
            "±",
            "One standard error of the evaluation: the spread over validation windows, noise draws "
            "averaged first. It leaves out the noise between seeds and data orders, and the choice "
            "of the best of several runs favors low numbers. All runs meet the same windows; the "
            "error of a difference takes them as independent, which is cautious.",
        ),
        (
            "Units",
            "Losses are nats per token; bits per byte are nats of the text over its UTF-8 bytes and "
            "ln 2, which makes tokenizers comparable. N counts parameters, D clean tokens.",
        ),
    ]
    if study.frontier is not None and study.frontier.protocol:
        entries.append(("Speed and quality", study.frontier.protocol))
    return entries + fit_entries(study)


def fit_entries(study: StudyFolder) -> Entries:
    """The fit's own protocol, its conventions, its bootstrap."""
    fits = study.fits
    if fits is None:
        return [("Fits", "None: the folder holds no fits.json.")]
    entries = [("Fits", fits.protocol)] if fits.protocol else []
    meaning = CONVENTIONS.get(fits.flops)
    counted = f"C: {fits.flops}" + (f" ({meaning})" if meaning else "")
    entries.append(
        ("Conventions of the fits", f"{counted}. N: {fits.parameters_convention} parameters.")
    )
    if fits.bootstrap:
        seed = "" if fits.seed is None else f", seed {fits.seed}"
        entries.append(
            (
                "[low, high]",
                f"{LEVEL:.0%} intervals of {fits.bootstrap} bootstrap replicates{seed}. What they "
                "hold is said under Fits and in the warnings.",
            )
        )
    return entries


def describe(values: dict[str, Any]) -> str:
    """A JSON object as `key value; key value`."""
    return "; ".join(f"{key.replace('_', ' ')} {spoken(value)}" for key, value in values.items())


def spoken(value: Any) -> str:
    """A JSON value in words: thousands apart, lists joined."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "unknown"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(map(spoken, value))
    if isinstance(value, dict):
        return f"({describe(value)})"
    return str(value)


def matched(study: StudyFolder) -> str:
    """How compute is counted, and how far finished runs are from their budgets."""
    text = (
        "Every run of a budget is given the same training FLOPs in the convention “exact”: "
        f"{CONVENTIONS['exact']}, 2 FLOPs a multiply-add."
    )
    spent = [
        run.record.flops["exact"] / run.budget
        for run in study.finished
        if "exact" in run.record.flops
    ]
    if not spent:
        return text
    furthest = max(abs(share - 1) for share in spent)
    return f"{text} The runs spent their budgets to within {furthest:.2%}."


def shared(study: StudyFolder) -> Entries:
    """What trunks saved; nothing where every run was trained from its first step."""
    runs = [run.record.flops for run in study.finished if "trained" in run.record.flops]
    exact, trained = (sum(flops[name] for flops in runs) for name in ("exact", "trained"))
    branches = sum(flops["trained"] < flops["exact"] for flops in runs)
    if not branches:
        return []
    text = (
        "Runs that differ in their budgets alone are one run until the cooldown of the shorter one, so the "
        f"longest was trained and {branches} others began at their cooldowns, with the same results as if "
        f"each had been trained alone: {trained:.3g} FLOPs were spent on {exact:.3g} "
        f"({1 - trained / exact:.0%} saved)."
    )
    return [("Trunks", text)]


def validation(study: StudyFolder) -> str:
    """The protocols of the final evaluations, with how many runs followed each."""
    found = [
        f"{one.kind}: {one.protocol or 'not recorded'}"
        for run in study.finished
        if (one := run.record.validation) is not None
    ]
    if not found:
        return "No run was evaluated."
    return "; ".join(f"{text} ({number} runs)" for text, number in sorted(Counter(found).items()))


def provenance(study: StudyFolder) -> Entries:
    """Versions and machines; where runs differ, every value that occurs."""
    sources = [study.study.provenance, *(run.record.provenance for run in study.runs)]
    keys = dict.fromkeys(key for source in sources for key in source)
    entries = [
        (key.replace("_", " "), distinct(s[key] for s in sources if key in s)) for key in keys
    ]
    devices = distinct(run.record.device for run in study.runs if run.record.device)
    entries += [("device", devices)] if devices else []
    if study.study.wall_seconds is not None:
        entries.append(("wall time of the study", clock(study.study.wall_seconds)))
    if study.study.minutes is not None:
        entries.append(("time asked for", f"{study.study.minutes:g} minutes"))
    return entries + ([("study id", study.study.id)] if study.study.id else [])


def distinct(values: Iterable[Any]) -> str:
    """Every different value once."""
    return ", ".join(sorted({spoken(value) for value in values}))
