"""Texts that each family wrote."""

from __future__ import annotations

from isodiff.report.blocks import Section, Text, missing
from isodiff.report.study_folder import StudyFolder
from isodiff.study_record import SampledTexts


def samples_section(study: StudyFolder) -> Section:
    """Families in the order of the study."""
    if not study.samples:
        why = "No text was drawn: the folder holds no samples.json, or an empty one."
        return missing("Samples", "samples", why)
    order = sorted(study.samples, key=lambda name: (study.place(name), name))
    return Section("Samples", [_texts(name, study.samples[name]) for name in order], "samples")


def _texts(family: str, found: SampledTexts) -> Text:
    said = found.sampler
    if found.nfe is not None and str(found.nfe) not in found.sampler:
        said += f" · {found.nfe} network evaluations"
    return Text(found.texts, "verbatim", title=family, caption=said, run=found.run)
