"""The figures of a report in their order, each with its caption, or with the reason it is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from isodiff.report.curves import isoflop, training
from isodiff.report.folder import StudyFolder
from isodiff.report.format import scientific
from isodiff.report.frontier import caption, chart
from isodiff.report.laws import laws, multipliers
from isodiff.report.panels import Chart
from isodiff.scaling.fitting.bootstrap import LEVEL
from isodiff.scaling.laws.isoflop import REFERENCE

REFUSALS = {
    "too_few_sizes": "fewer than three sizes",
    "concave": "the losses do not curve upwards",
    "edge": "the lowest loss is at the edge of the sizes tried",
}
NOT_RUN = "No run has finished yet."


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of the report.

    Attributes:
        name: of its files and its place in the page.
        title: what it shows.
        draw: the chart, wide or narrow; None where the study does not hold it.
        caption: how to read it, what the marks mean.
        missing: why there is no chart, where there is none.
    """

    name: str
    title: str
    draw: Callable[[StudyFolder, bool], Chart | None]
    caption: Callable[[StudyFolder], str]
    missing: Callable[[StudyFolder], str]


def isoflop_caption(study: StudyFolder) -> str:
    """Marks of the IsoFLOP figure, and which minima were refused."""
    bars = "Bars, often smaller than the marks, are one standard error of the evaluation."
    if study.fits is None or not study.fits.families:
        return f"Final validation loss of every run, joined by budget; nothing was fitted. {bars}"
    refused = [
        f"{family} at {scientific(curve.budget or curve.flops)} "
        f"({REFUSALS.get(curve.reason, curve.reason)})"
        for family in study.families
        for curve in study.fit(family).refused
    ]
    left_out = f" Refused, and dashed: {'; '.join(refused)}." if refused else ""
    return (
        "Final validation loss of every run against its size, a curve per training budget (FLOPs "
        f"at its right end). Lines are least-squares parabolas in ln N, open diamonds their minima. "
        f"{bars}{left_out}"
    )


def laws_caption(study: StudyFolder) -> str:
    """Marks of the laws."""
    counted = study.fits.flops if study.fits else "budget"
    return (
        "Power laws through the minima of the IsoFLOP curves, drawn half a decade beyond the "
        f"budgets either way. Bands and bars are {LEVEL:.0%} bootstrap intervals, cut where they leave "
        f"a panel. FLOPs convention: {counted}."
    )


def laws_missing(study: StudyFolder) -> str:
    """Why there are no laws."""
    if study.fits is None:
        return "The folder holds no fits.json; isodiff fit with --out writes one."
    if not study.fits.families:
        return "; ".join(study.fits.warnings) or "fits.json holds no family."
    return "A power law needs trusted minima at two budgets or more; no family has them."


def multipliers_caption(study: StudyFolder) -> str:
    """What a multiplier is."""
    return (
        f"How many times the training compute of {REFERENCE} a family needs for the same loss: "
        f"the {REFERENCE} law read at the family's lowest losses. Left of 1 is cheaper. "
        f"Intervals: {LEVEL:.0%}, bootstrap."
    )


def multipliers_missing(study: StudyFolder) -> str:
    """Why no multiplier is known."""
    if study.fits is None or not study.fits.families:
        return laws_missing(study)
    found = [study.fit(family).multiplier_vs_autoregressive for family in study.families]
    reasons = sorted({one.reason for one in found if one is not None and one.reason})
    return f"No multiplier is known: {'; '.join(reasons) or 'the fits hold none'}."


def frontier(study: StudyFolder, narrow: bool) -> Chart | None:
    """Quality against throughput, where it was measured."""
    return None if study.frontier is None else chart(study.frontier, study.families, narrow)


def frontier_caption(study: StudyFolder) -> str:
    """Marks of the frontier."""
    return "" if study.frontier is None else caption(study.frontier)


def frontier_missing(study: StudyFolder) -> str:
    """Why there is no frontier."""
    if study.frontier is None:
        return "The folder holds no frontier.json; isodiff frontier writes one."
    return f"{study.frontier.reason or 'No sampler was measured'}."


def training_caption(study: StudyFolder) -> str:
    """Marks of the training curves."""
    return (
        "Validation loss against training FLOPs spent (convention: exact), a panel per budget with "
        "its own scale. Thick lines are each "
        "family's best run, thin ones all others. On the way the loss is measured on fewer windows "
        "than at the end, so the last step may jump a little."
    )


FIGURES = (
    Figure("isoflop", "IsoFLOP curves", isoflop, isoflop_caption, lambda study: NOT_RUN),
    Figure("laws", "Scaling laws", laws, laws_caption, laws_missing),
    Figure(
        "multipliers", "Compute multipliers", multipliers, multipliers_caption, multipliers_missing
    ),
    Figure("frontier", "Speed and quality", frontier, frontier_caption, frontier_missing),
    Figure(
        "training",
        "Training curves",
        training,
        training_caption,
        lambda study: "No run has measured its loss on the way.",
    ),
)
