"""Results of `isodiff evaluate` for people to read."""

from __future__ import annotations

from isodiff.evaluate.documents import DocumentsLikelihood
from isodiff.record import HeldOutLoss
from isodiff.report.blocks import Table
from isodiff.report.sections.benchmarks import confusion_table
from isodiff.report.text import terminal
from isodiff.task_results import (
    ChoiceResult,
    ClassificationResult,
    ClozeResult,
    HarnessResult,
    Interval,
    TaskResult,
    TextLikelihood,
    TextResult,
)
from isodiff.units import by_name, short
from isodiff.units import perplexity as perplexity_of

_SHOWN = 20  # documents in the table
_MEANS = {"exact": "the likelihood itself", "bound": "an upper bound"}


def nats_text(found: HeldOutLoss) -> str:
    """`exact = 1.2345 +- 0.0012 nats/token`, or `bound <= ...`."""
    nats = found.nats_per_token
    return by_name(found.kind, f"{nats.value:.4f} +- {nats.standard_error:.4f} nats/token")


def bits_text(found: HeldOutLoss) -> str:
    """`1.2345 +- 0.0012 bits/byte`."""
    bits = found.bits_per_byte
    return f"{bits.value:.4f} +- {bits.standard_error:.4f} bits/byte"


def split_text(found: HeldOutLoss) -> str:
    """Nats, bits, perplexity, protocol."""
    perplexity = perplexity_of(found.nats_per_token.value)
    return f"{nats_text(found)}, {bits_text(found)}, perplexity {perplexity:.3g} ({found.protocol})"


def documents_text(family: str, found: DocumentsLikelihood) -> str:
    """A line for each document, then all together."""
    rows = [_row(one, one.document) for one in found.documents[:_SHOWN]]
    if found.num_documents > _SHOWN:
        more = f"... and {found.num_documents - _SHOWN} more; --json lists all"
        rows.append(("", "", "", "", "", more))
    rows.append(_row(found, f"all {found.num_documents}"))
    caption = f"{family}, {_MEANS[found.kind]}: {found.protocol}"
    if (cached := found.cached_sampler) is not None:
        rows.append(_row(cached, "all, cached sampler"))
        caption += f". Cached sampler, {_MEANS[cached.kind]}: {cached.protocol}"
    names = ("nats/token", "bits/byte", "perplexity", "tokens", "forwards", "document")
    return terminal(Table.of(names, rows, caption=caption))


def _row(one: TextLikelihood, name: str) -> tuple[object, ...]:
    nats = f"{one.nats_per_token:.4f} +- {one.nats_per_token_se:.4f}"
    bits = f"{one.bits_per_byte:.4f} +- {one.bits_per_byte_se:.4f}"
    return (nats, bits, f"{one.perplexity:.4g}", one.num_tokens, one.num_forwards, name)


def task_text(result: TaskResult) -> str:
    """A result for people to read."""
    mark = "=" if result.kind == "exact" else "<="
    where = f"{result.family} on {result.task}"
    if isinstance(result, TextResult):
        text = f"{where}: {_text(result, mark)} ({result.protocol})"
        if (cached := result.cached_sampler) is not None:
            text += f"\nits cached sampler: {_text(cached, mark)} ({cached.protocol})"
        return text
    parts = [f"accuracy {_rate(result.accuracy, result.accuracy_interval)}"]
    if isinstance(result, ChoiceResult | ClozeResult):
        parts += _lengths(result)
    if result.perplexity is not None:
        parts.append(f"perplexity of a target {mark} {result.perplexity:.4g}")
    if isinstance(result, ChoiceResult):
        per_byte = _rate(result.accuracy_per_byte, result.accuracy_per_byte_interval)
        parts.append(f"per byte {per_byte}")
        if result.accuracy_pmi is not None:
            parts.append(f"PMI {_rate(result.accuracy_pmi, result.accuracy_pmi_interval)}")
        parts.append(f"chance {result.chance:.1%}, {result.undecided} undecided")
    parts.append(f"{result.num_items} items, {short(result.num_forwards or 0)} forwards")
    if isinstance(result, ChoiceResult | ClozeResult) and (count := result.num_malformed):
        parts.append(f"{count} malformed line{'s' * (count > 1)} skipped")
    return f"{where}: {'; '.join(parts)} ({result.protocol})"


def classification_text(result: ClassificationResult) -> str:
    """Accuracy and what it took, above the table of which class was taken for which."""
    parts = [f"accuracy {_rate(result.accuracy, result.accuracy_interval)}"]
    parts += [f"chance {result.chance:.1%}, {result.undecided} undecided", *_lengths(result)]
    forwards = f"{result.forwards_per_item:.1f} forwards per item"
    parts.append(f"{result.num_items} items, {forwards}, {short(result.num_forwards or 0)} in all")
    where = f"{result.family} on {result.task}"
    return f"{where}: {'; '.join(parts)} ({result.protocol})\n{terminal(confusion_table(result))}"


def _lengths(result: ChoiceResult | ClozeResult | ClassificationResult) -> list[str]:
    """Which share of the items was not scored, or not with all of its context."""
    parts = []
    if result.num_too_long:
        num = result.num_too_long + (result.num_items or 0)
        share = f"{result.share_too_long:.1%} of the items ({result.num_too_long} of {num})"
        parts.append(f"{share} too long and left out")
    if result.num_shortened and result.num_items:
        share = f"{result.num_shortened / result.num_items:.1%} of {result.num_items}"
        parts.append(f"contexts of {share} shortened")
    return parts


def _text(one: TextLikelihood, mark: str) -> str:
    return (
        f"{mark} {one.nats_per_token:.4f} +- {one.nats_per_token_se:.4f} nats per token, "
        f"{mark} {one.bits_per_byte:.4f} +- {one.bits_per_byte_se:.4f} bits per byte, "
        f"perplexity {mark} {one.perplexity:.4g}"
    )


def _rate(value: float | None, interval: Interval | None) -> str:
    low, high = interval or (0, 1)
    return f"{value or 0:.1%} [{low:.1%}, {high:.1%}]"


def harness_text(result: HarnessResult) -> str:
    """The metrics of a harness task, a line each, and those of its parts below."""
    where = f"{result.family} on {result.task}"
    lines = [f"{where} by lm-evaluation-harness {result.harness_version}", *_metrics(result)]
    return "\n".join(lines)


def _metrics(result: HarnessResult, indent: str = "  ") -> list[str]:
    lines = [f"{indent}{name}: {number}" for name, number in result.metrics.items()]
    for one in result.parts or ():
        lines += [f"{indent}{one.task}, {one.num_items} items", *_metrics(one, f"{indent}  ")]
    return lines
