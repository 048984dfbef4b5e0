"""Plans for a terminal: the runs of a study; a budget by laws; which runs to train next."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from isodiff.report.blocks import Section, Table, Text
from isodiff.report.format import spread
from isodiff.report.text import terminal
from isodiff.scaling.planning.candidate_runs import ProposedRun
from isodiff.scaling.planning.experimental_design import Proposal
from isodiff.scaling.planning.family_plan import NOT_COVERED, FamilyPlan
from isodiff.scaling.planning.hardware import SamplingSpeed
from isodiff.scaling.planning.recommend import Plan
from isodiff.study.jobs import PlannedRun
from isodiff.study.plan import makespan
from isodiff.units import clock, memory, scientific, short

_SURE = 0.999  # confidence from which more runs hardly change a verdict
_NEEDS = (
    "memory: weights, gradients, moments and one sequence; devices: fewest among which it fits; "
    "tokens/s: at most, one text alone, and in batches"
)


def plan_text(found: Plan) -> str:
    """A table of families, what each needs, the recommendation with its reasons, what to beware of."""
    best = found.recommendation
    rules = sorted({line for family in found.families.values() for line in _rules(family)})
    warnings = [Section("Warnings", [Text(found.warnings)])] if found.warnings else []
    return terminal(
        _head(found),
        _by_law(found),
        f"{_setting(found)}\n{terminal(_needs(found))}",
        Section(best.title, [Text(best.reasons, "list")]),
        *([Section("Rules", [Text(rules)])] if rules else []),
        *warnings,
        found.protocol,
    )


def _head(found: Plan) -> str:
    limit = "" if found.data_limit is None else f" and a text of {short(found.data_limit)} tokens"
    head = (
        f"{found.budget:.3g} FLOPs{limit}, by the {found.law} law of {found.source} "
        f"(C: {found.flops}, N: {found.parameters_convention})"
    )
    known = [(law.law, law.held_out_error) for law in found.laws]
    errors = ", ".join(f"{law} {error:.2%}" for law, error in known if error is not None)
    said = "error of the lowest loss at the largest budgets when these are left out"
    return f"{head}\n{said}: {errors}" if errors else head


def _ranked(found: Plan) -> list[tuple[str, FamilyPlan]]:
    named = sorted(found.families.items())
    return sorted(named, key=lambda item: math.inf if item[1].loss is None else item[1].loss)


def _by_law(found: Plan) -> Table:
    """Size, tokens, loss and recipe of each family."""
    columns: dict[str, Callable[[str, FamilyPlan], str]] = {
        "family": lambda name, _: name,
        "N*": lambda _, one: spread(one.N, one.N_interval),
        "D*": lambda _, one: spread(one.D, one.D_interval),
        "epochs": lambda _, one: _epochs(one),
        "loss": lambda _, one: _loss(one),
        "shape": lambda _, one: one.shape or "-",
        "batch": lambda _, one: _or_dash(one.batch_tokens.value, short),
        "rate": lambda _, one: _or_dash(one.learning_rate.value, "{:.2g}".format),
    }
    if found.data_limit is None:
        del columns["epochs"]
    return Table.of_columns(columns, _ranked(found))


def _epochs(one: FamilyPlan) -> str:
    """With what is useful at most, where that is less."""
    useful = None if one.best_epochs is None else one.best_epochs.value
    over = useful is not None and (one.epochs or 1) > useful
    return f"{one.epochs:.3g}" + (f" (useful: {useful:.3g})" if over else "")


def _loss(one: FamilyPlan) -> str:
    if one.loss is None:
        return "unknown" if one.least_loss is None else f"unknown, not below {one.least_loss:.3f}"
    return ("<= " if one.kind == "bound" else "") + spread(one.loss, one.loss_interval, ".3f")


def _or_dash(value: float | None, show: Callable[[float], str]) -> str:
    return "-" if value is None else show(value)


def _setting(found: Plan) -> str:
    setting = found.setting
    device = setting.devices
    count = f"{device.count} " if device.count > 1 else ""
    pace = (
        f"{setting.utilization:.0%} of their peak"
        if setting.training_throughput is None
        else f"{short(setting.training_throughput)} tokens/s in training"
    )
    return (
        f"On {count}{device.name}, {pace}, texts of {setting.length} tokens, a vocabulary of "
        f"{setting.vocab_size}, samplers of {setting.sampler_steps} steps"
    )


def _needs(found: Plan) -> Table:
    def speed(show: Callable[[SamplingSpeed], str]) -> Callable[[str, FamilyPlan], str]:
        return lambda _, one: (
            show(one.inference) if isinstance(one.inference, SamplingSpeed) else "-"
        )

    columns: dict[str, Callable[[str, FamilyPlan], str]] = {
        "family": lambda name, _: name,
        "hours": lambda _, one: f"{one.training.hours:.3g}",
        "GPU-hours": lambda _, one: _or_dash(one.training.device_hours, "{:.3g}".format),
        "price": lambda _, one: _or_dash(one.training.price, short),
        "memory": lambda _, one: memory(one.memory.states_bytes + one.memory.activations_bytes),
        "devices": lambda _, one: str(one.memory.devices_needed or "none"),
        "FLOPs/token": speed(lambda sampling: scientific(sampling.flops_per_token)),
        "evaluations": speed(lambda sampling: f"{sampling.evaluations:.0f}"),
        "tokens/s": speed(lambda sampling: short(sampling.tokens_per_second_alone)),
        "in batches": speed(lambda sampling: short(sampling.tokens_per_second)),
        "price of 1M": lambda _, one: _or_dash(
            one.serving and one.serving.price_per_million_tokens, "{:.3g}".format
        ),
    }
    if found.setting.price is None:
        del columns["price"], columns["price of 1M"]
    return Table.of_columns(columns, _ranked(found), _NEEDS)


def _rules(family: FamilyPlan) -> list[str]:
    """Where the numbers of one family that no law gives come from."""
    advice = {
        "batch, tokens": family.batch_tokens,
        "rate": family.learning_rate,
        "batch, at most": family.critical_batch_tokens or NOT_COVERED,
    }
    found = [
        f"{name}: {rule.statement} ({rule.source})"
        for name, rule in advice.items()
        if rule.value is not None
    ]
    if family.loss_cooled is not None:
        found.append("losses are at a constant learning rate; a cooldown lowers them by 2.4 %")
    return found


def next_text(found: Proposal) -> str:
    """The verdict as it stands, the runs in order of importance, and what they leave."""
    done = (
        f"Of {found.candidates} runs with budgets and sizes up to {found.reach:g} times the largest of "
        f"{found.source}; parametric laws, {found.replicates} replicates; C: {found.flops_convention}, N: "
        f"{found.parameters_convention}."
    )
    warnings = [Section("Warnings", [Text(found.warnings)])] if found.warnings else []
    return terminal(_known(found), _next_runs(found), _outlook(found), *warnings, done)


def _known(found: Proposal) -> str:
    first, second = found.families
    where = f"At {found.target:.3g} FLOPs {first}"
    if found.verdict == "multiplier":
        factor, either_way = math.exp(found.value), math.exp(found.error)
        known = f"{factor:.3g} times (a factor of {either_way:.3g} either way, by parametric laws)"
        if (stated := found.multiplier) is not None:
            known = f"{spread(stated.value, (stated.low, stated.high), '.3g')} times"
        return f"{where} needs the compute of {second} for equal loss {known}."
    known = f"{found.value:.4f} ± {found.error:.4f} nats per token"
    said = f"{where} is ahead of {second} by {known}: {found.confidence:.1%} sure."
    return f"{said} More runs will hardly change that." if found.confidence > _SURE else said


def _next_runs(found: Proposal) -> Table:
    error = "{:.4f}".format if found.verdict == "lead" else lambda e: f"x {math.exp(e):.3g}"
    columns: dict[str, Callable[[ProposedRun], str]] = {
        "family": lambda run: run.family,
        "budget": lambda run: f"{run.flops:.3g}",
        "shape": lambda run: run.shape or "-",
        "params": lambda run: short(run.parameters),
        "tokens": lambda run: short(run.tokens),
        "error after": lambda run: error(run.error_after),
        "why": _why,
    }
    return Table.of_columns(columns, [(run,) for run in found.runs])


def _why(run: ProposedRun) -> str:
    seed = ", another seed of a run there is" if run.again else ""
    if run.below:
        seed += f"; {run.family} is read down here, below its smallest budget"
    return (
        f"its loss, known to {run.known:.2%}, goes with the verdict ({run.correlation:+.2f}); "
        f"a run's noise is {run.noise:.2%}{seed}"
    )


def _outlook(found: Proposal) -> str:
    """What the runs cost and leave."""
    share = 1 - found.error_after / found.error if found.error else 0.0
    said = (
        f"{found.flops:.3g} FLOPs in all, of {found.allowance:.3g}: the standard error of the verdict should "
        f"fall by {share:.0%}"
    )
    if found.verdict == "lead":
        said += f"; if the lead stays as it is, it will be {found.confidence_after:.1%} sure"
    return f"{said}."


def plan_table(runs: Sequence[PlannedRun], count: int) -> str:
    """The runs of a study, and what they take with `count` workers."""
    branched = any(run.prefix_of for run in runs)
    columns: dict[str, Callable[[PlannedRun], object]] = {
        "family": lambda run: run.spec.family["name"],
        "budget": lambda run: f"{run.spec.budget:.2g}",
        "shape": lambda run: run.spec.shape,
        "seed": lambda run: run.spec.seed,
        "params": lambda run: short(run.parameters),
        "tokens": lambda run: short(run.tokens),
        "epochs": lambda run: f"{run.epochs:.2f}",
        "steps": lambda run: f"{run.steps:.0f}",
        "trained": lambda run: f"{run.steps - run.prefix_steps:.0f}",
        "time": lambda run: clock(run.seconds),
        "memory": lambda run: memory(run.memory_bytes),
    }
    if not branched:
        del columns["trained"]
    flops = math.fsum(run.flops for run in runs)
    total = makespan([run.seconds for run in runs], count)
    said = (
        f"{len(runs)} runs, {scientific(flops)} FLOPs in all, about {clock(total)} with {count} workers; "
        "params: non-embedding, budget: training FLOPs (exact), memory: weights, optimizer, activations"
    )
    if branched:
        own = math.fsum(run.trained_flops for run in runs)
        said += (
            "\nshared prefixes: runs that differ in their budgets alone share their steps up to the "
            "cooldown; "
            f"{scientific(own)} FLOPs to train, {scientific(flops - own)} FLOPs ({1 - own / flops:.0%}) saved"
        )
    return terminal(Table.of_columns(columns, [(run,) for run in runs], said))
