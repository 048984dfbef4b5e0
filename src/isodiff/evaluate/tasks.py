"""Benchmarks by name: which file each takes, how its parts are joined, what is measured.

A new benchmark is one entry of `TASKS`: the command line, its help and docs/benchmarks.md have it from there.
Without a name, `isodiff evaluate task RUN FILE.jsonl` joins with a space and names the result after the file.
Nothing is fetched: the files are the user's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

from isodiff.bounds import Checked, Count, FewTimes, PartFraction, SeedNumber, TokenCount
from isodiff.data.documents import documents
from isodiff.errors import InputError, nearest
from isodiff.evaluate.choices import choice_result, choose, how_chosen
from isodiff.evaluate.cloze import cloze
from isodiff.evaluate.detokenize import detokenized
from isodiff.evaluate.documents import evaluate_documents
from isodiff.evaluate.items import read_items, tokenize_items
from isodiff.evaluate.scoring import Scorer
from isodiff.evaluate.sequential_test import StoppingRule
from isodiff.files import storing
from isodiff.provenance import provenance
from isodiff.runs.build import Trained
from isodiff.runs.resumable import Kept
from isodiff.serialization import write_result
from isodiff.task_results import ChoiceResult, ClozeResult, TaskResult, TextLikelihood, TextResult


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskSettings(Checked):
    """How a task is scored.

    Attributes:
        error: chance, per item, that the sequential test drops the best option.
        draws: most noise draws per option, or forwards per window of text, where the likelihood is a bound;
            None for 128 in a sequential test, 32 in the harness, and what suits the estimator elsewhere.
        steps: of the sampler that writes a cloze target.
        pmi: score the difference to the option without its context as well.
        seed: of the noise.
        limit: items taken from the file, None for all.
        batch_tokens: most tokens of a batch.
    """

    error: PartFraction = 0.05
    draws: FewTimes | None = None
    steps: FewTimes = 64
    pmi: bool = False
    seed: SeedNumber = 0
    limit: Count | None = None
    batch_tokens: TokenCount = 2**14

    @property
    def rule(self) -> StoppingRule:
        """Of the sequential test."""
        return StoppingRule(error=self.error, most=self.draws or 128)


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskFile:
    """A task's file, the run to be scored on it, and how."""

    task: Task
    path: Path
    run: Trained
    settings: TaskSettings
    device: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What a benchmark is.

    Attributes:
        about: one line.
        source: its paper.
        format: keys of a line of the file, or "text".
        measure: scores a run on the file.
        joiner: what stands between context and continuation; None: a space, where neither brings white space.
        detokenizer: rules by which a text is detokenized (detokenize.py).
        separator: between the documents of a text; None where a file is one.
    """

    name: str
    about: str = ""
    source: str = ""
    format: str = ""
    measure: Callable[[TaskFile], TaskResult]
    joiner: str | None = None
    detokenizer: str = "none"
    separator: str | None = None


def score_items(file: TaskFile) -> ChoiceResult | ClozeResult:
    """Accuracy of multiple choice, or accuracy and perplexity of cloze targets, whichever the file holds.

    Raises:
        InputError: nothing in the file can be used.
    """
    run, settings = file.run, file.settings
    items, malformed = read_items(file.path, joiner=file.task.joiner, limit=settings.limit)
    length = run.spec.length
    found = tokenize_items(items, run.corpus.tokenizer, length)
    found = found.usable(file.path, length, malformed)
    ready, left_out = found.ready, found.left_out
    scorer = Scorer(
        run.family,
        run.network,
        seed=settings.seed,
        device=file.device,
        batch_tokens=settings.batch_tokens,
    )
    asked = {
        **{"run": run.spec.id, "step": run.step, "joiner": file.task.joiner, **asdict(settings)},
        "file": hashlib.sha256(file.path.read_bytes()).hexdigest(),
    }
    name = file.task.name
    if len(ready[0].targets) == 1:
        work = (2 * len(ready), "scores and answers")
        with Kept(name, *work, folder=run.folder, asked=asked) as pieces:
            said = cloze(scorer, ready, budget=settings.draws, steps=settings.steps, pieces=pieces)
        return replace(said, **left_out)
    with Kept(name, len(ready), "items", folder=run.folder, asked=asked) as pieces:
        decisions, forwards = choose(scorer, ready, settings.rule, pmi=settings.pmi, pieces=pieces)
    how = how_chosen(run.family, settings.rule, settings.seed)
    return replace(
        choice_result(ready, decisions, forwards), kind=run.family.kind, protocol=how, **left_out
    )


def _score_text(file: TaskFile) -> TextResult:
    """Likelihood of a text, detokenized as the task says; a limit counts documents."""
    rules, settings = file.task.detokenizer, file.settings
    texts = (
        document._replace(text=detokenized(document.text, rules))
        for document in documents([file.path], separator=file.task.separator)
    )
    found = evaluate_documents(
        file.run,
        islice(texts, settings.limit),
        budget=settings.draws,
        seed=settings.seed,
        device=file.device,
    )
    return TextResult(
        kind=found.kind,
        protocol=f"detokenization {rules}; {found.protocol}",
        num_documents=found.num_documents,
        cached_sampler=found.cached_sampler,
        **{name: getattr(found, name) for name in TextLikelihood.__dataclass_fields__},
    )


def _items(
    name: str, about: str, source: str, joiner: str, format: str = "query, choices, gold"
) -> Task:
    return Task(
        name=name, about=about, source=source, format=format, joiner=joiner, measure=score_items
    )


def _text(
    name: str, about: str, source: str = "", detokenizer: str = "none", separator: str | None = None
) -> Task:
    return Task(
        name=name,
        about=about,
        source=source,
        format="text",
        detokenizer=detokenizer,
        separator=separator,
        measure=_score_text,
    )


_ANSWER = "\nAnswer: "  # as in llm-foundry, whose files these formats are
_CONTEXTS = "context_options, continuation, gold"
_CLOZE = "context, continuation"
_PTB = "Marcus et al., Computational Linguistics 19, 1993"

TASKS = {
    task.name: task
    for task in (
        _items("arc_easy", "school science, the easier part", "arXiv 1803.05457", _ANSWER),
        _items("arc_challenge", "school science, the harder part", "arXiv 1803.05457", _ANSWER),
        _items("piqa", "two ways to a goal", "arXiv 1911.11641", _ANSWER),
        _items("siqa", "social situations", "arXiv 1904.09728", " "),
        _items("winogrande", "who is meant", "arXiv 1907.10641", " ", _CONTEXTS),
        _items("boolq", "passage and question, yes or no", "arXiv 1905.10044", _ANSWER),
        _items("openbook_qa", "elementary science", "arXiv 1809.02789", " "),
        _items("hellaswag", "how a story goes on", "arXiv 1905.07830", " "),
        _items("lambada", "the last word of a passage", "arXiv 1606.06031", " ", _CLOZE),
        _text("wikitext", "WikiText-2 or -103", "arXiv 1609.07843", "wikitext"),
        _text("ptb", "Penn Treebank, as preprocessed by Mikolov", _PTB, "ptb"),
        _text("lm1b", "One Billion Words, a document a line", "arXiv 1312.3005", "lm1b", "\n"),
        _text("plain_text", "any text, as it is"),
    )
}


def task_named(name: str) -> Task:
    """The task with this name.

    Raises:
        InputError: there is none.
    """
    if name not in TASKS:
        raise InputError(f"no task {name!r}{nearest(name, TASKS)}; tasks: {', '.join(TASKS)}")
    return TASKS[name]


def task_table() -> str:
    """The tasks as docs/benchmarks.md shows them."""
    rows = ["| task | about | source | file | joined by |", "|---|---|---|---|---|"]
    for task in TASKS.values():
        joiner = "" if task.joiner is None else f"`{json.dumps(task.joiner)}`"
        cells = (f"`{task.name}`", task.about, task.source, task.format, joiner)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def run_task(
    run: Trained,
    path: Path,
    settings: TaskSettings,
    *,
    task: Task | None = None,
    joiner: str | None = None,
    device: str = "cpu",
) -> TaskResult:
    """Score a run on a file, write `tasks/<name>.json` into its folder and return what it says.

    Without `task` the file holds items, joined by `joiner`, and names the result.

    Raises:
        InputError: nothing in the file can be used.
    """
    task = task or Task(name=path.stem, joiner=joiner, measure=score_items)
    file = TaskFile(task=task, path=path, run=run, settings=settings, device=device)
    named = {"task": task.name, "run": run.spec.id, "family": run.family.name, "file": path.name}
    whole = replace(task.measure(file), **named)
    stored = replace(whole, asked=settings, provenance=provenance())
    with storing():
        write_result(run.folder / "tasks" / f"{task.name}.json", stored)
    return replace(whole, items=None) if isinstance(whole, ChoiceResult) else whole
