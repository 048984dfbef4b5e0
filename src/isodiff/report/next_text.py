"""Which runs to train next, for people at a terminal."""

from __future__ import annotations

import math

from isodiff.scaling.planning.candidate_runs import ProposedRun
from isodiff.scaling.planning.experimental_design import Proposal
from isodiff.units import short

_SURE = 0.999
"""Confidence from which more runs hardly change a verdict."""


def next_text(found: Proposal) -> str:
    """The verdict as it stands, the runs in order of importance, and what they leave."""
    parts = [_known(found), _table(found), _outlook(found)]
    if found.warnings:
        parts.append("Warnings\n" + "\n".join(f"  {line}" for line in found.warnings))
    parts.append(
        f"Of {found.candidates} runs with budgets and sizes up to {found.reach:g} times the largest "
        f"of {found.source}; parametric laws, {found.replicates} replicates; C: "
        f"{found.flops_convention}, N: {found.parameters_convention}."
    )
    return "\n\n".join(parts)


def _amount(found: Proposal) -> str:
    """q with its standard error: nats, or a factor of compute."""
    if found.verdict == "lead":
        return f"{found.value:.4f} +- {found.error:.4f} nats per token"
    factor, either_way = math.exp(found.value), math.exp(found.error)
    return f"{factor:.3g} times (a factor of {either_way:.3g} either way)"


def _known(found: Proposal) -> str:
    first, second = found.families
    known = _amount(found)
    if found.verdict == "multiplier":
        return f"At {found.target:.3g} FLOPs {first} needs the compute of {second} for equal loss {known}."
    said = (
        f"At {found.target:.3g} FLOPs {first} is ahead of {second} by {known}: "
        f"{found.confidence:.1%} sure."
    )
    return f"{said} More runs will hardly change that." if found.confidence > _SURE else said


def _table(found: Proposal) -> str:
    head = f"{'family':<22}{'budget':>9}{'shape':>8}{'params':>9}{'tokens':>9}{'error after':>13}"
    lines = [head + "  why"]
    for run in found.runs:
        after = run.error_after
        shown = f"{after:.4f}" if found.verdict == "lead" else f"x {math.exp(after):.3g}"
        lines.append(
            f"{run.family:<22}{run.flops:>9.3g}{run.shape or '-':>8}"
            f"{short(run.parameters):>9}{short(run.tokens):>9}{shown:>13}  {_why(run)}"
        )
    return "\n".join(lines)


def _why(run: ProposedRun) -> str:
    seed = ", another seed of a run there is" if run.again else ""
    return (
        f"its loss, known to {run.known:.2%}, goes with the verdict ({run.correlation:+.2f}); "
        f"a run's noise is {run.noise:.2%}{seed}"
    )


def _outlook(found: Proposal) -> str:
    """What the runs cost and leave."""
    share = 1 - found.error_after / found.error if found.error else 0.0
    said = (
        f"{found.flops:.3g} FLOPs in all, of {found.allowance:.3g}: the standard error of the verdict "
        f"should fall by {share:.0%}"
    )
    if found.verdict == "lead":
        said += f"; if the lead stays as it is, it will be {found.confidence_after:.1%} sure"
    return said + "."
