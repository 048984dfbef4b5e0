"""`isodiff train FAMILY`: one run on a compute budget."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any, get_type_hints

import torch
import tyro

from isodiff.cli import Answer, WorkFailed
from isodiff.data.tokens import Corpus
from isodiff.errors import InputError
from isodiff.families import FAMILIES, Family, family_named
from isodiff.network.shape import Backbone, Shape
from isodiff.progress import TrainingLine
from isodiff.runs.build import corpus_identity, describe, make_family, measure
from isodiff.runs.spec import Recipe, RunSpec, Validation
from isodiff.serialization import to_json
from isodiff.train.initialization import initialization_from
from isodiff.train.loop import train
from isodiff.units import clock, short


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What `isodiff train` needs beside the family's own options.

    Attributes:
        corpus: folder of a prepared corpus.
        budget: training FLOPs, e.g. 1e13 (convention: exact).
        shape: a name of the ladder (25k, 113M) or DEPTHxWIDTHxHEADS.
        length: tokens per sequence.
        init: folder of a finished run with the same network, whose weights this one starts from.
        seed: of weights, data order and noise.
        out: folder of runs; the run goes to OUT/<id>.
        threads: CPU threads; 0 leaves the default.
        device: cpu, cuda, cuda:1, ...
        checkpoint_seconds: time between checkpoints.
        dry_run: print what would be trained, train nothing.
    """

    corpus: Path
    budget: float
    shape: str = "25k"
    length: int = 128
    init: Path | None = None
    seed: int = 0
    out: Path = Path("runs")
    threads: int = 0
    device: str = "cpu"
    checkpoint_seconds: float = 60.0
    dry_run: bool = False
    recipe: Recipe = dataclasses.field(default_factory=Recipe)
    backbone: Backbone = dataclasses.field(default_factory=Backbone)
    validation: Validation = dataclasses.field(default_factory=Validation)


def command(argv: list[str]) -> Answer:
    """Parse `FAMILY [options]` and train."""
    if not argv or argv[0].startswith("-"):
        names = ", ".join(sorted(FAMILIES))
        text = f"usage: isodiff train FAMILY [options]\n\nfamilies: {names}\n"
        if argv and argv[0] in ("-h", "--help"):
            return Answer({"families": sorted(FAMILIES)}, text + "\nisodiff train FAMILY --help")
        raise InputError(f"which family? one of {names}")
    cls = family_named(argv[0])
    own = [
        (field.name, hint, dataclasses.field(default=field.default))
        for field, hint in own_options(cls)
    ]
    both = dataclasses.make_dataclass("Train", own, bases=(Options,), frozen=True, kw_only=True)
    description = f"Train {cls.name} ({cls.reference}) on a compute budget."
    chosen: Any = tyro.cli(
        both, args=argv[1:], prog=f"isodiff train {cls.name}", description=description
    )
    family = {name: getattr(chosen, name) for name, _, _ in own}
    return run({"name": cls.name, **family}, chosen)


def own_options(cls: type[Family]) -> list[tuple[dataclasses.Field[Any], Any]]:
    """The family's options with their types."""
    hints = get_type_hints(cls)
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    return [(field, hints[field.name]) for field in fields if field.name != "vocab_size"]


def run(family: dict[str, Any], options: Options) -> Answer:
    """Train one run and say what it reached."""
    if options.threads:
        torch.set_num_threads(options.threads)
    corpus = Corpus.open(options.corpus)
    init = None if options.init is None else initialization_from(options.init, corpus)
    spec = RunSpec(
        family=describe(make_family(family, corpus.vocab_size)),
        shape=Shape.parse(options.shape),
        budget=options.budget,
        length=options.length,
        corpus=corpus_identity(corpus),
        seed=options.seed,
        backbone=options.backbone,
        recipe=options.recipe,
        validation=options.validation,
        init=None if init is None else init.source,
    )
    size = measure(spec, corpus.vocab_size)
    steps = size.steps(spec)
    tokens = steps * size.step_tokens
    origin = "" if init is None else f" from run {init.source.run}"
    summary = (
        f"{family['name']} {spec.shape}{origin}: {short(size.non_embedding)} non-embedding parameters, "
        f"{steps} steps, {short(tokens)} tokens, {short(steps * size.step_flops, 'FLOP')}"
    )
    folder = options.out / spec.id
    if options.dry_run:
        value = {"id": spec.id, "steps": steps, "tokens": tokens, "flops": size.flops(spec, steps)}
        return Answer({**value, "parameters": size.non_embedding}, summary)
    print(f"{summary}\n{folder}", file=sys.stderr)
    record = train(
        spec,
        folder,
        corpus,
        init=init,
        device=options.device,
        report=TrainingLine(family["name"]),
        checkpoint_seconds=options.checkpoint_seconds,
    )
    found = record.validation
    if found is None:
        raise WorkFailed(f"{folder} stopped: {record.message}", to_json(record))
    nats, bits = found.nats_per_token, found.bits_per_byte
    mark = "=" if found.kind == "exact" else "<="
    text = (
        f"{folder}\nvalidation {mark} {nats.value:.4f} +- {nats.standard_error:.4f} nats/token, "
        f"{bits.value:.4f} +- {bits.standard_error:.4f} bits/byte "
        f"({found.protocol}) after {clock(record.wall_seconds or 0)}"
    )
    return Answer(to_json(record), text)
