"""Train one family on a compute budget."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import OmitArgPrefixes, arg

from isodiff.cli.options import Flops, Folder, NumTokens
from isodiff.cli.options import Shape as ShapeName
from isodiff.cli.parsing import Parsed, settings_of
from isodiff.cli.training import TrainingOptions
from isodiff.cli.verb import Answer, Commands, resumable
from isodiff.data.tokens import Corpus
from isodiff.families import FAMILIES, Family
from isodiff.network.shape import Backbone, Shape
from isodiff.runs.build import corpus_identity, describe, make_family, measure
from isodiff.runs.recipes import RecipeName, with_named_recipe
from isodiff.runs.spec import Recipe, RunSpec, Validation
from isodiff.serialization import to_json
from isodiff.train.initialization import initialization_from
from isodiff.train.ranks import Ranks
from isodiff.units import scientific, short


@dataclass(frozen=True, kw_only=True)
class _Options(TrainingOptions):
    """What `isodiff train` needs beside the options of family, recipe, network and validation.

    Attributes:
        budget: Training FLOPs, e.g. 1e13 (convention: exact).
        length: Tokens per sequence.
        recipe: Recipe and backbone of a name; paper is arXiv 2602.15014. Options given beside it hold.
        init: Folder of a finished run with the same network, whose weights this one starts from.
        dry_run: Say what would be trained, and train nothing.
    """

    corpus: Annotated[Path, arg(metavar="FOLDER", help="Folder of a prepared corpus.")]
    budget: Flops
    shape: ShapeName = "25k"
    length: NumTokens = 128
    recipe: RecipeName | None = None
    init: Folder | None = None
    dry_run: bool = False


def _train(
    options: Annotated[_Options, arg(name="")],
    family: dict[str, Any],
    recipe: Annotated[dict[str, Any], Parsed(settings_of(Recipe), dict)],
    backbone: Annotated[dict[str, Any], Parsed(settings_of(Backbone), dict)],
    validation: Validation,
) -> Answer:
    """Train FAMILY on a compute budget; the same command goes on after an interruption."""
    options.set_threads()
    with options.ranks() as ranks:
        return _trained(options, family, recipe, backbone, validation, ranks)


def _trained(
    options: _Options,
    family: dict[str, Any],
    recipe: dict[str, Any],
    backbone: dict[str, Any],
    validation: Validation,
    ranks: Ranks,
) -> Answer:
    corpus = Corpus.open(options.corpus)
    init = None if options.init is None else initialization_from(options.init, corpus)
    named = {} if options.recipe is None else {"name": options.recipe}
    asked = with_named_recipe({"recipe": named | recipe, "backbone": backbone})
    spec = RunSpec(
        family=describe(make_family(family, corpus.vocab_size)),
        shape=Shape.parse(options.shape),
        budget=options.budget,
        length=options.length,
        corpus=corpus_identity(corpus),
        seed=options.seed,
        backbone=Backbone(**asked["backbone"]),
        recipe=Recipe(**asked["recipe"]),
        validation=validation,
        init=None if init is None else init.source,
    )
    size = measure(spec, corpus.vocab_size)
    steps = size.steps(spec)
    tokens = steps * size.step_tokens
    origin = "" if init is None else f" from run {init.source.run}"
    summary = (
        f"{family['name']} {spec.shape}{origin}: {short(size.non_embedding)} non-embedding parameters, "
        f"{steps} steps, {short(tokens)} tokens, {scientific(steps * size.step_flops)} FLOPs"
    )
    if options.dry_run:
        value = {"id": spec.id, "steps": steps, "tokens": tokens, "flops": size.flops(spec, steps)}
        return Answer({**value, "parameters": size.non_embedding}, summary)
    _, record, text = options.train(spec, summary, corpus, init, ranks=ranks)
    return Answer(to_json(record), text)


def _command(cls: type[Family]) -> Callable[..., Answer]:
    """`isodiff train NAME`, with the family's own options."""

    @resumable
    @functools.wraps(_train)
    def command(**options: Any) -> Answer:
        return _train(**options)

    own = Parsed(settings_of(cls, {"vocab_size"}), lambda given: {"name": cls.name, **given})
    named = Annotated[dict[str, Any], own, OmitArgPrefixes]
    command.__annotations__ = {**_train.__annotations__, "family": named}
    command.__doc__ = (_train.__doc__ or "").replace("FAMILY", f"{cls.name} ({cls.reference})")
    return command


COMMANDS = Commands(
    what="family",
    functions={name: _command(cls) for name, cls in sorted(FAMILIES.items())},
    aliases={name: (cls.nickname,) for name, cls in FAMILIES.items()},
)
