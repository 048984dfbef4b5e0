"""Fine-tune a trained run on questions with answers, and count its right answers."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from tyro.conf import arg

from isodiff.cli import Answer, WorkFailed, resumable
from isodiff.cli.options import (
    Corpus as CorpusFolder,
)
from isodiff.cli.options import (
    Device,
    File,
    Flops,
    Folder,
    Number,
    NumTokens,
    RunFolder,
    Seconds,
    Seed,
    Threads,
)
from isodiff.cli.parsing import Parsed, settings_of
from isodiff.cli.sampler_options import SamplerOptions, sampler_settings
from isodiff.data.final_answer import score
from isodiff.data.qa_format import Question, read_questions, spelt
from isodiff.data.tokens import Corpus
from isodiff.evaluate.answers import answers
from isodiff.families import family_named
from isodiff.families.base import Sampler
from isodiff.files import read_json, write_json, write_text
from isodiff.progress import TrainingLine
from isodiff.provenance import provenance
from isodiff.record import WeightsSource
from isodiff.runs.build import Trained, load, measure
from isodiff.runs.intervals import wilson
from isodiff.runs.resumable import Kept
from isodiff.runs.spec import Recipe, RunSpec, Validation
from isodiff.serialization import to_json
from isodiff.train.examples import Examples
from isodiff.train.initialization import initialization_from
from isodiff.train.loop import train
from isodiff.units import clock

_SAMPLER_DEFAULTS = {"condition": "clamp"}
"""Of samplers after fine-tuning, where they differ: prompts are shown as they were in training."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What `isodiff finetune` needs beside the sampler's own options.

    Attributes:
        data: Questions to learn from, JSON lines with question and answer, the answer ending in `#### n`.
        test: Questions to answer afterwards; without, nothing is answered.
        task: The form of the questions.
        epochs: How often every question is seen, unless the budget says it.
        budget: Training FLOPs, instead of epochs.
        answer_tokens: Room for an answer, its end included; that of the longest answer by default.
        length: Tokens of question and answer together, at most; the run's own by default.
        out: Folder of runs; the run goes to OUT/<id>, its answers to OUT/<id>/answers.jsonl.
        batch_answers: Answers written at a time.
        checkpoint_seconds: Time between checkpoints.
    """

    data: File
    test: File | None = None
    task: Literal["gsm8k"] = "gsm8k"
    epochs: float = 3.0
    budget: Flops | None = None
    answer_tokens: NumTokens | None = None
    length: NumTokens | None = None
    seed: Seed = 0
    out: Folder = Path("runs")
    corpus: CorpusFolder | None = None
    batch_answers: Number = 64
    threads: Threads = 0
    device: Device = "cpu"
    checkpoint_seconds: Seconds = 60.0


@resumable
def run(
    folder: RunFolder,
    options: Annotated[Options, arg(name="")],
    recipe: Annotated[dict[str, Any], Parsed(settings_of(Recipe), dict)],
    validation: Validation,
    sampler_options: SamplerOptions,
) -> Answer:
    """Fine-tune a run on questions, then answer those of a test with its family's sampler.

    The recipe is the run's own where no option says otherwise. The same command on a run that is done trains
    nothing, and writes the answers again: with another sampler, say.
    """
    base = RunSpec.read(folder)
    settings = sampler_settings(
        family_named(base.family["name"]), sampler_options, **_SAMPLER_DEFAULTS
    )
    own_recipe = dataclasses.replace(base.recipe, **recipe)
    if options.threads:
        torch.set_num_threads(options.threads)
    place = (
        read_json(folder / "location.json")["corpus"] if options.corpus is None else options.corpus
    )
    corpus = Corpus.open(place)
    init = initialization_from(folder, corpus)
    examples = Examples.of(
        options.task,
        spelt(questions(options.data), corpus.tokenizer),
        corpus,
        limit=options.length or base.length,
        room=options.answer_tokens,
        batch_size=own_recipe.batch_size,
        seed=options.seed,
    )
    if examples.left_out:
        print(f"{examples.left_out} examples are too long and left out", file=sys.stderr)
    asked = [] if options.test is None else questions(options.test)
    spec = planned(base, examples, init.source, options, own_recipe, validation)
    place = options.out / spec.id
    print(
        f"{spec.family['name']} from run {base.id}, {len(examples.trained_on)} examples\n{place}",
        file=sys.stderr,
    )
    record = train(
        spec,
        place,
        corpus,
        init=init,
        source=examples,
        device=options.device,
        report=TrainingLine(spec.family["name"]),
        checkpoint_seconds=options.checkpoint_seconds,
    )
    found = record.validation
    if found is None:
        raise WorkFailed(f"{place} stopped: {record.message}", to_json(record))
    nats, mark = found.nats_per_token, "=" if found.kind == "exact" else "<="
    text = (
        f"{place}\nvalidation {mark} {nats.value:.4f} +- {nats.standard_error:.4f} nats/token "
        f"({found.protocol}) after {clock(record.wall_seconds or 0)}"
    )
    value = {**to_json(record), "left_out": examples.left_out}
    if not asked:
        return Answer(value, text)
    trained = load(place, corpus=corpus.folder, device=options.device)
    known = {field.name for field in dataclasses.fields(trained.family.sampler)}
    stop = {"stop": corpus.eos} if "stop" in known else {}
    sampler = trained.family.sampler(**settings, **stop)
    result = answered(trained, asked, sampler, examples.room, options)
    say = f"\nexact answers {result.pop('said')}"
    return Answer({**value, "accuracy": result}, text + say)


def questions(path: Path) -> list[Question]:
    """Of a file; what is none is reported."""
    found = read_questions(path)
    for line, reason in found.malformed:
        print(f"{path}, line {line} is left out: {reason}", file=sys.stderr)
    return found.questions


def planned(
    base: RunSpec,
    examples: Examples,
    init: WeightsSource,
    options: Options,
    recipe: Recipe,
    validation: Validation,
) -> RunSpec:
    """The spec of so many epochs."""
    spec = dataclasses.replace(
        base,
        length=examples.length,
        seed=options.seed,
        recipe=recipe,
        validation=validation,
        init=init,
        task=examples.task,
    )
    steps = math.ceil(options.epochs * len(examples.trained_on) / recipe.batch_size)
    each = measure(spec, base.corpus["vocab_size"]).step_flops
    return dataclasses.replace(spec, budget=options.budget or steps * each)


def answered(
    trained: Trained, asked: list[Question], sampler: Sampler, room: int, options: Options
) -> dict[str, Any]:
    """Write the answers down and count the right ones."""
    tokenizer = trained.corpus.tokenizer
    protocol = {
        **{"questions": [one.prompt for one in asked], "sampler": dataclasses.asdict(sampler)},
        **{"room": room, "seed": options.seed, "batch_size": options.batch_answers},
    }
    with Kept("answers", len(asked), "questions", folder=trained.folder, asked=protocol) as pieces:
        written = answers(
            trained.family,
            trained.network,
            [one.prompt for one in spelt(asked, tokenizer)],
            sampler,
            room=room,
            eos=tokenizer.eos,
            seed=options.seed,
            batch_size=options.batch_answers,
            device=options.device,
            pieces=pieces,
        )
    texts = [tokenizer.decode(one.ids) for one in written]
    scored = score(texts, [one.gold for one in asked])
    lines = [
        {
            "question": one.question,
            "answer": text,
            "gold": str(one.gold),
            "strict": strict,
            "flexible": flexible,
            "ended": answer.ended,
            "nfe": answer.nfe,
        }
        for one, text, answer, (strict, flexible) in zip(
            asked, texts, written, scored.right, strict=True
        )
    ]
    path = options.out / trained.spec.id / "answers.jsonl"
    write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
    assert options.test is not None
    share, name = scored.strict, options.test.stem
    result = {
        "task": name,
        "run": trained.spec.id,
        "family": trained.family.name,
        "accuracy": share.value,
        "accuracy_interval": list(wilson(share.successes, share.trials)),
        "num_items": share.trials,
        "num_forwards": sum(one.nfe for one in written),
        "protocol": f"written answers, right where they end with #### and the number, seed {options.seed}",
        "provenance": to_json(provenance()),
    }
    write_json(options.out / trained.spec.id / "tasks" / f"{name}.json", result)
    return {
        **scored.to_json(),
        "sampler": dataclasses.asdict(sampler),
        "nfe": sum(one.nfe for one in written) / len(written),
        "unended": sum(not one.ended for one in written),
        "answers": str(path),
        "said": f"strict {scored.strict}, flexible {scored.flexible}; all in {path}",
    }
