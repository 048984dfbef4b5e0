"""List the families: exact or bound, FLOPs per token, reference."""

from __future__ import annotations

from isodiff.cli.options import NumTokens
from isodiff.cli.options import Shape as ShapeName
from isodiff.cli.verb import Answer
from isodiff.cost.flops import training_flops
from isodiff.families import FAMILIES
from isodiff.network.shape import Backbone, Shape
from isodiff.report.blocks import Table
from isodiff.report.text import terminal
from isodiff.units import scientific

_ROWS = 4  # sequences of a step: enough that every family's shares of them come out even


def run(
    *,
    shape: ShapeName = "25k",
    length: NumTokens = 128,
    vocab_size: NumTokens = 257,
    markdown: bool = False,
) -> Answer:
    """List the families: exact likelihood or bound, training FLOPs per token, reference.

    Args:
        shape: Size at which FLOPs are counted, a name of the ladder (25k) or DEPTHxWIDTHxHEADS.
        length: Tokens per sequence.
        vocab_size: Tokens of the vocabulary.
        markdown: Print the table of docs/families.md instead.
    """
    if markdown:
        return Answer({}, _table())
    size, rows = Shape.parse(shape), {}
    for name, cls in sorted(FAMILIES.items()):
        family = cls(vocab_size=vocab_size)  # type: ignore[call-arg]
        views = family.training_views(_ROWS, length)
        flops, _ = training_flops(
            views,
            shape=size,
            backbone=Backbone(),
            vocab_size=vocab_size,
            timed=family.time_conditioned,
        )
        rows[name] = {
            "nickname": cls.nickname,
            "likelihood": cls.usual_kind,
            "training_flops_per_token": flops / (_ROWS * length),
            "reference": cls.reference,
        }
    names = ("family", "nickname", "likelihood", "FLOPs/token", "reference")
    shown = [
        (name, nickname, kind, scientific(flops), reference)
        for name, (nickname, kind, flops, reference) in (
            (name, row.values()) for name, row in rows.items()
        )
    ]
    counted = f"FLOPs: training, exact, shape {size}, length {length}, vocabulary {vocab_size}"
    return Answer({"families": rows}, terminal(Table.of(names, shown, caption=counted)))


def _table() -> str:
    """What each family says of itself."""
    lines = [
        "| family | nickname | likelihood | network sees | head runs on | source |",
        "|---|---|---|---|---|---|",
    ]
    for name, cls in FAMILIES.items():
        source = cls.reference.removeprefix("arXiv ")
        exact = "".join(f"; exact at {option} {value}" for option, value in cls.exact_at.items())
        kind = cls.usual_kind + exact
        lines.append(f"| {name} | {cls.nickname} | {kind} | {cls.shows} | {cls.reads} | {source} |")
    return "\n".join(lines)
