"""How the numbers of a report came about: text, compute, noise, fits, versions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from isodiff.report.blocks import Block, Section, Table, Text
from isodiff.report.study_folder import StudyFolder
from isodiff.scaling.fitting.bootstrap import LEVEL
from isodiff.serialization import to_json
from isodiff.units import clock

_Entries = list[tuple[str, str]]
_CONVENTIONS = {
    "budget": "the budget each run was given",
    "exact": "matrix products and attended pairs of the views a family trains on, forward and "
    "backward",
    "no_attention": "blocks and a head at every clean position, no attention scores",
    "6ND": "6 × non-embedding parameters × clean tokens",
}


def protocol_section(study: StudyFolder) -> Section:
    """Terms and what they mean in this study, in reading order; warnings; the study as asked for."""
    blocks: list[Block] = [Table.of_terms(_entries(study))]
    if study.fits and study.fits.warnings:
        blocks.append(Text(study.fits.warnings, "list", title="Warnings of the fits"))
    asked = json.dumps(study.study.study, indent=2, ensure_ascii=False)
    blocks.append(Text([asked], "verbatim", fold="The study as it was asked for"))
    return Section("Protocol", blocks, "protocol")


def _entries(study: StudyFolder) -> _Entries:
    entries = [
        ("Corpus", _describe(to_json(study.study.corpus))),
        ("Matched compute", _matched(study)),
        *_shared(study),
        ("Validation", _validation(study)),
        (
            "= and ≤",
            "= is an exact loss, ≤ an upper bound (a negative evidence lower bound): the true loss "
            "of that family is at most the number shown.",
        ),
        (
            "±",
            "One standard error of the evaluation: the spread over validation windows, noise draws "
            "averaged first; in the verdict also the scatter between runs. The choice of the best of "
            "several sizes favors low numbers. All runs meet the same windows.",
        ),
        (
            "Units",
            "Losses are nats per token; bits per byte are nats of the text over its UTF-8 bytes and "
            "ln 2, which makes tokenizers comparable. N counts parameters, D clean tokens.",
        ),
    ]
    if study.frontier is not None and study.frontier.protocol:
        entries.append(("Speed and quality", study.frontier.protocol))
    return entries + _fit_entries(study)


def _fit_entries(study: StudyFolder) -> _Entries:
    """The fit's own protocol, its conventions, its bootstrap."""
    fits = study.fits
    if fits is None:
        return [("Fits", "None: the folder holds no fits.json.")]
    entries = [("Fits", fits.protocol)] if fits.protocol else []
    meaning = _CONVENTIONS.get(fits.flops)
    counted = f"C: {fits.flops}" + (f" ({meaning})" if meaning else "")
    counted += f". N: {fits.parameters_convention} parameters."
    entries.append(("Conventions of the fits", counted))
    if fits.bootstrap:
        seed = "" if fits.seed is None else f", seed {fits.seed}"
        text = f"{LEVEL:.0%} intervals of {fits.bootstrap} bootstrap replicates{seed}. What they hold is "
        entries.append(("[low, high]", f"{text}said under Fits and in the warnings."))
    return entries


def _describe(values: dict[str, Any]) -> str:
    """A JSON object as `key value; key value`."""
    known = {
        key.replace("_", " "): value for key, value in values.items() if value not in (None, [])
    }
    return "; ".join(f"{key} {_spoken(value)}" for key, value in known.items())


def _spoken(value: Any) -> str:
    """A JSON value in words: thousands apart, lists joined."""
    if isinstance(value, list):
        return ", ".join(map(_spoken, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def _matched(study: StudyFolder) -> str:
    """How compute is counted, and how far finished runs are from their budgets."""
    text = (
        "Every run of a budget is given the same training FLOPs in the convention “exact”: "
        f"{_CONVENTIONS['exact']}, 2 FLOPs a multiply-add."
    )
    spent = [exact / run.budget for run in study.finished if (exact := run.record.flops.exact)]
    if not spent:
        return text
    furthest = max(abs(share - 1) for share in spent)
    return f"{text} The runs spent their budgets to within {furthest:.2%}."


def _shared(study: StudyFolder) -> _Entries:
    """What shared prefixes saved; nothing where every run was trained from its first step."""
    pairs = [(run.record.flops.exact, run.record.flops.trained) for run in study.finished]
    known = [(exact, trained) for exact, trained in pairs if exact and trained]
    branches = sum(trained < exact for exact, trained in known)
    if not branches:
        return []
    exact, trained = map(sum, zip(*known, strict=True))
    text = (
        "Runs that differ in their budgets alone are one run until the cooldown of the shorter one, so the "
        f"longest was trained and {branches} others began at their cooldowns, with the same results as if "
        f"each had been trained alone: {trained:.3g} FLOPs were spent on {exact:.3g} "
        f"({1 - trained / exact:.0%} saved)."
    )
    return [("Shared prefixes", text)]


def _validation(study: StudyFolder) -> str:
    """The protocols of the final evaluations, with how many runs followed each."""
    found = [
        f"{one.kind}: {one.protocol or 'not recorded'}"
        for run in study.finished
        if (one := run.record.validation) is not None
    ]
    if not found:
        return "No run was evaluated."
    return "; ".join(f"{text} ({number} runs)" for text, number in sorted(Counter(found).items()))


def versions_section(study: StudyFolder) -> Section:
    """Versions and machines; where runs differ, every value that occurs."""
    sources = [study.study.provenance, *(run.record.provenance for run in study.runs)]
    entries: dict[str, list[Any]] = {}
    for source in sources:
        for key, value in to_json(source).items():
            entries.setdefault(key.replace("_", " "), []).extend([] if value is None else [value])
    entries["device"] = [run.record.device for run in study.runs if run.record.device]
    rows = [(key, _distinct(values)) for key, values in entries.items() if values]
    took, asked = study.study.wall_seconds, study.study.minutes
    rows += [("wall time of the study", clock(took))] if took is not None else []
    rows += [("time asked for", f"{asked:g} minutes")] if asked is not None else []
    rows += [("study id", study.study.id)] if study.study.id else []
    rows = rows or [("unknown", "No file of the study names them.")]
    return Section("Versions and machine", [Table.of_terms(rows)], "versions")


def _distinct(values: Iterable[Any]) -> str:
    return ", ".join(sorted({_spoken(value) for value in values}))
