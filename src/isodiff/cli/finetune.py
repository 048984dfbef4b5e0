"""Fine-tune a trained run on questions with answers, and count its right answers."""

from __future__ import annotations

import dataclasses
import math
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import arg

from isodiff.bounds import Positive
from isodiff.cli.options import Corpus as CorpusFolder
from isodiff.cli.options import File, Flops, Number, NumTokens, RunFolder
from isodiff.cli.parsing import Parsed, settings_of
from isodiff.cli.sampler_options import SamplerOptions, sampler_settings
from isodiff.cli.training import TrainingOptions
from isodiff.cli.verb import Answer, resumable
from isodiff.data.qa_format import QuestionAnswer, read_questions, tokenize_questions
from isodiff.data.tokens import Corpus
from isodiff.errors import one_line
from isodiff.evaluate.answers import evaluate_answers
from isodiff.families import family_named
from isodiff.record import WeightsSource
from isodiff.runs.build import load, measure
from isodiff.runs.location import corpus_of
from isodiff.runs.spec import Recipe, RunSpec, Validation
from isodiff.serialization import to_json
from isodiff.train.examples import Examples
from isodiff.train.initialization import initialization_from
from isodiff.train.lengths import proposed_lengths, row_lengths
from isodiff.train.ranks import Ranks

_SAMPLER_DEFAULTS = {"condition": "clamp"}
"""Of samplers after fine-tuning, where they differ: prompts are shown as they were in training."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Options(TrainingOptions):
    """What `isodiff finetune` needs beside the sampler's own options.

    Attributes:
        data: Questions to learn from, JSON lines with question and answer, the answer ending in `#### n`.
        test: Questions to answer afterwards; without, nothing is answered.
        task: The form of the questions.
        epochs: How often every question is seen, unless the budget says it.
        budget: Training FLOPs, instead of epochs.
        answer_tokens: Room for an answer, its end included; by default that with which most questions fit.
        length: Tokens of question and answer together, at most; by default the run's own, or as many as hold
            99 % of the questions.
        out: Folder of runs; the run goes to OUT/<id>, its answers to OUT/<id>/answers.jsonl.
        batch_answers: Answers written at a time.
    """

    data: File
    test: File | None = None
    task: Literal["gsm8k"] = "gsm8k"
    epochs: Annotated[Positive, arg(metavar="NUMBER")] = 3.0
    budget: Flops | None = None
    answer_tokens: NumTokens | None = None
    length: NumTokens | None = None
    corpus: CorpusFolder | None = None
    batch_answers: Number = 64


@resumable
def run(
    folder: RunFolder,
    options: Annotated[_Options, arg(name="")],
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
    options.set_threads()
    with options.ranks() as ranks:
        return _finetuned(folder, base, settings, options, own_recipe, validation, ranks)


def _finetuned(
    folder: Path,
    base: RunSpec,
    settings: dict[str, Any],
    options: _Options,
    own_recipe: Recipe,
    validation: Validation,
    ranks: Ranks,
) -> Answer:
    corpus = Corpus.open(options.corpus or corpus_of(folder))
    init = initialization_from(folder, corpus)
    questions = tokenize_questions(_questions(options.data, ranks), corpus.tokenizer)
    rows = row_lengths(questions, base.length, length=options.length, room=options.answer_tokens)
    examples = Examples.of(
        options.task,
        questions,
        corpus,
        rows=rows,
        batch_size=own_recipe.batch_size,
        seed=options.seed,
    )
    longer = rows.length > (options.length or base.length)
    if ranks.leads and (examples.left_out or longer):
        print(
            _lengths_text(examples, len(questions), base.length, proposed_lengths(questions)),
            file=sys.stderr,
        )
    asked = [] if options.test is None else _questions(options.test, ranks)
    spec = _planned(base, examples, init.source, options, own_recipe, validation)
    summary = f"{spec.family['name']} from run {base.id}, {len(examples.trained_on)} examples"
    place, record, text = options.train(
        spec, summary, corpus, init, examples, ranks=ranks, with_bits=False
    )
    value = {**to_json(record), "left_out": examples.left_out}
    if options.test is None or not ranks.leads:
        return Answer(value, text)
    trained = load(place, corpus=corpus.folder, device=ranks.device)
    known = {field.name for field in dataclasses.fields(trained.family.sampler)}
    stop = {"stop": corpus.eos} if "stop" in known else {}
    sampler = trained.family.sampler(**settings, **stop)
    result = evaluate_answers(
        trained,
        asked,
        sampler,
        task=options.test.stem,
        room=examples.room,
        seed=options.seed,
        batch_size=options.batch_answers,
        device=ranks.device,
    )
    longer = f"{result.share_too_long:.1%} of the questions are longer than in training; "
    say = f"strict {result.strict}, flexible {result.flexible}; "
    say += f"{longer if result.num_too_long else ''}all in {result.answers}"
    return Answer({**value, "accuracy": to_json(result)}, f"{text}\nexact answers {say}")


def _lengths_text(examples: Examples, num: int, usual: int, proposed: str) -> str:
    """What is left out, how long rows are, and what would do otherwise."""
    return (
        f"{examples.left_out} of {num} examples are too long and left out; rows have {examples.length} "
        f"tokens, {examples.room} of them for the answer (the run has {usual}); {proposed}"
    )


def _questions(path: Path, ranks: Ranks) -> list[QuestionAnswer]:
    """Those of a file; malformed lines are reported, once."""
    found, malformed = read_questions(path)
    for one in malformed if ranks.leads else []:
        print(one_line(f"{path}, line {one.line} is left out: {one.reason}"), file=sys.stderr)
    return found


def _planned(
    base: RunSpec,
    examples: Examples,
    init: WeightsSource,
    options: _Options,
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
        imported=None,
    )
    steps = math.ceil(options.epochs * len(examples.trained_on) / recipe.batch_size)
    each = measure(spec, base.corpus.vocab_size).step_flops
    return dataclasses.replace(spec, budget=options.budget or steps * each)
