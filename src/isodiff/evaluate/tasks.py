"""Benchmarks by name: which file each takes, how its parts are joined, what is measured.

A new benchmark is one entry of `TASKS`: the command line, its help and docs/benchmarks.md have it from there.
Without a name, `isodiff evaluate task RUN FILE.jsonl` joins with a space and names the result after the file.
Nothing is fetched: the files are the user's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

from isodiff.data.documents import documents
from isodiff.errors import InputError, nearest
from isodiff.evaluate.choices import choice_result, choose
from isodiff.evaluate.cloze import cloze
from isodiff.evaluate.detokenize import detokenized
from isodiff.evaluate.documents import evaluate_documents
from isodiff.evaluate.items import read_items, tokenize_items
from isodiff.evaluate.scoring import Scorer
from isodiff.evaluate.sequential_test import StoppingRule
from isodiff.provenance import provenance
from isodiff.runs.build import Trained
from isodiff.runs.resumable import Kept
from isodiff.serialization import write_result
from isodiff.task_results import ChoiceResult, ClozeResult, TaskResult, TextLikelihood, TextResult


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskSettings:
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

    error: float = 0.05
    draws: int | None = None
    steps: int = 64
    pmi: bool = False
    seed: int = 0
    limit: int | None = None
    batch_tokens: int = 2**14

    def __post_init__(self) -> None:
        for name in ("draws", "steps", "batch_tokens", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} must be at least 1, got {value}")
        _ = self.rule  # its own limits

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
    ready, unfit = tokenize_items(items, run.corpus.tokenizer, run.spec.length)
    malformed = sorted([*malformed, *unfit])
    if not ready:
        first = malformed[0]
        raise InputError(f"{file.path} has no item that fits; line {first.line}: {first.reason}")
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
    left_out = {"num_malformed": len(malformed), "malformed": tuple(malformed)}
    name = file.task.name
    if len(ready[0].targets) == 1:
        work = (2 * len(ready), "scores and answers")
        with Kept(name, *work, folder=run.folder, asked=asked) as pieces:
            found = cloze(scorer, ready, budget=settings.draws, steps=settings.steps, pieces=pieces)
        return replace(found, **left_out)
    with Kept(name, len(ready), "items", folder=run.folder, asked=asked) as pieces:
        decisions, forwards = choose(scorer, ready, settings.rule, pmi=settings.pmi, pieces=pieces)
    how = (
        "exact, one forward per option"
        if run.family.kind == "exact"
        else f"bound, at most {settings.rule.most} draws per option under common noise, sequential test at "
        f"error {settings.error:g}, seed {settings.seed}"
    )
    found = choice_result(ready, decisions, forwards)
    return replace(found, kind=run.family.kind, protocol=how, **left_out)


def score_text(file: TaskFile) -> TextResult:
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
        **{name: getattr(found, name) for name in TextLikelihood.__dataclass_fields__},
    )


_ONE_CONTEXT = "query, choices, gold"
_ANSWER = "\nAnswer: "  # as in llm-foundry, whose files these formats are

TASKS = {
    task.name: task
    for task in (
        Task(
            name="arc_easy",
            about="school science, the easier part",
            source="arXiv 1803.05457",
            format=_ONE_CONTEXT,
            joiner=_ANSWER,
            measure=score_items,
        ),
        Task(
            name="arc_challenge",
            about="school science, the harder part",
            source="arXiv 1803.05457",
            format=_ONE_CONTEXT,
            joiner=_ANSWER,
            measure=score_items,
        ),
        Task(
            name="piqa",
            about="two ways to a goal",
            source="arXiv 1911.11641",
            format=_ONE_CONTEXT,
            joiner=_ANSWER,
            measure=score_items,
        ),
        Task(
            name="siqa",
            about="social situations",
            source="arXiv 1904.09728",
            format=_ONE_CONTEXT,
            joiner=" ",
            measure=score_items,
        ),
        Task(
            name="winogrande",
            about="who is meant",
            source="arXiv 1907.10641",
            format="context_options, continuation, gold",
            joiner=" ",
            measure=score_items,
        ),
        Task(
            name="boolq",
            about="passage and question, yes or no",
            source="arXiv 1905.10044",
            format=_ONE_CONTEXT,
            joiner=_ANSWER,
            measure=score_items,
        ),
        Task(
            name="openbook_qa",
            about="elementary science",
            source="arXiv 1809.02789",
            format=_ONE_CONTEXT,
            joiner=" ",
            measure=score_items,
        ),
        Task(
            name="hellaswag",
            about="how a story goes on",
            source="arXiv 1905.07830",
            format=_ONE_CONTEXT,
            joiner=" ",
            measure=score_items,
        ),
        Task(
            name="lambada",
            about="the last word of a passage",
            source="arXiv 1606.06031",
            format="context, continuation",
            joiner=" ",
            measure=score_items,
        ),
        Task(
            name="wikitext",
            about="WikiText-2 or -103",
            source="arXiv 1609.07843",
            format="text",
            detokenizer="wikitext",
            measure=score_text,
        ),
        Task(
            name="ptb",
            about="Penn Treebank, as preprocessed by Mikolov",
            source="Marcus et al., Computational Linguistics 19, 1993",
            format="text",
            detokenizer="ptb",
            measure=score_text,
        ),
        Task(
            name="lm1b",
            about="One Billion Words, a document a line",
            source="arXiv 1312.3005",
            format="text",
            detokenizer="lm1b",
            separator="\n",
            measure=score_text,
        ),
        Task(name="plain_text", about="any text, as it is", format="text", measure=score_text),
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
        joiner = "" if task.joiner is None else f"`{task.joiner!r}`".replace("'", '"')
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
    write_result(run.folder / "tasks" / f"{task.name}.json", stored)
    return replace(whole, items=None) if isinstance(whole, ChoiceResult) else whole
