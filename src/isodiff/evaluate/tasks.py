"""Benchmarks by name: which file each takes, how its parts are joined, what is measured.

A task is a file of JSON lines (items.py) and a joiner, or a text and how it is detokenized. Without a name,
`isodiff evaluate task RUN FILE` joins with a space and names the result after the file. Nothing is
fetched: the files are the user's.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from isodiff.data.documents import documents
from isodiff.errors import InputError, nearest
from isodiff.evaluate.choices import choose, entries
from isodiff.evaluate.cloze import foretell
from isodiff.evaluate.detokenize import detokenized
from isodiff.evaluate.documents import evaluate_documents
from isodiff.evaluate.items import read_items
from isodiff.evaluate.scoring import Scorer
from isodiff.evaluate.sequential_test import Rules
from isodiff.files import write_json
from isodiff.provenance import provenance
from isodiff.runs.build import Trained
from isodiff.runs.resumable import Kept
from isodiff.serialization import to_json

ANSWER = "\nAnswer: "


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What a benchmark is.

    Attributes:
        joiner: what stands between context and continuation; None: a space, where neither brings white space.
        rules: of a text whose perplexity is asked for: how it is detokenized; None for a file of items.
        separator: between the documents of such a text; None where a file is one.
        about: one line.
    """

    name: str
    joiner: str | None = None
    rules: str | None = None
    separator: str | None = None
    about: str


TASKS = {
    task.name: task
    for task in (
        Task(
            name="arc_easy",
            joiner=ANSWER,
            about="school science, the easier part (arXiv 1803.05457)",
        ),
        Task(
            name="arc_challenge",
            joiner=ANSWER,
            about="school science, the harder part (arXiv 1803.05457)",
        ),
        Task(name="piqa", joiner=ANSWER, about="two ways to a goal (arXiv 1911.11641)"),
        Task(name="siqa", joiner=" ", about="social situations (arXiv 1904.09728)"),
        Task(name="winogrande", joiner=" ", about="who is meant (arXiv 1907.10641)"),
        Task(
            name="boolq", joiner=ANSWER, about="passage and question, yes or no (arXiv 1905.10044)"
        ),
        Task(name="openbook_qa", joiner=" ", about="elementary science (arXiv 1809.02789)"),
        Task(name="hellaswag", joiner=" ", about="how a story goes on (arXiv 1905.07830)"),
        Task(name="lambada", joiner=" ", about="the last word of a passage (arXiv 1606.06031)"),
        Task(name="wikitext", rules="wikitext", about="WikiText-2 or -103 (arXiv 1609.07843)"),
        Task(name="ptb", rules="ptb", about="Penn Treebank, as preprocessed by Mikolov"),
        Task(
            name="lm1b", rules="lm1b", separator="\n", about="One Billion Words (arXiv 1312.3005)"
        ),
        Task(name="plain_text", rules="none", about="any text, as it is"),
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Protocol:
    """How a task is scored.

    Attributes:
        error: chance, per item, that the race drops the best option.
        draws: most noise draws per option, or forwards per window of text, where the likelihood is a bound;
            None for 128 in a race, 32 in the harness, and what suits the estimator elsewhere.
        steps: of the sampler that writes a word to be foretold.
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
        _ = self.rules  # its own limits

    @property
    def rules(self) -> Rules:
        """Those of the race."""
        return Rules(error=self.error, most=self.draws or 128)

    @property
    def draws_each(self) -> int:
        """Of a request of the harness."""
        return self.draws or 32


def run_task(
    run: Trained,
    file: Path,
    protocol: Protocol,
    *,
    task: Task | None = None,
    joiner: str | None = None,
    device: str = "cpu",
) -> dict[str, Any]:
    """Score a run on a file, write `tasks/<name>.json` into its folder and return what it says.

    Raises:
        InputError: nothing in the file can be used.
    """
    scorer = Scorer(
        run.family,
        run.network,
        seed=protocol.seed,
        device=device,
        batch_tokens=protocol.batch_tokens,
    )
    each: dict[str, Any] = {}
    if task is not None and task.rules is not None:
        found = text_result(run, file, task, protocol, device)
    else:
        name = file.stem if task is None else task.name
        found, each = items_result(
            run, file, protocol, scorer, name, task.joiner if task else joiner
        )
    value = {
        "task": file.stem if task is None else task.name,
        "run": run.spec.id,
        "family": run.family.name,
        "file": file.name,
        **found,
    }
    whole = {**value, **each, "asked": asdict(protocol), "provenance": to_json(provenance())}
    write_json(run.folder / "tasks" / f"{value['task']}.json", whole)
    return value


def items_result(
    run: Trained, file: Path, protocol: Protocol, scorer: Scorer, name: str, joiner: str | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a file of items gives, and what it gives for each."""
    items, malformed = read_items(file, joiner=joiner, limit=protocol.limit)
    ready, unfit = entries(items, run.corpus.tokenizer, run.spec.length)
    malformed = sorted([*malformed, *unfit])
    if not ready:
        first = malformed[0]
        raise InputError(f"{file} has no item that fits; line {first.line}: {first.reason}")
    left_out = {
        "num_malformed": len(malformed),
        "malformed": [one._asdict() for one in malformed],
    }
    asked = {
        **{"run": run.spec.id, "step": run.step, "joiner": joiner, **asdict(protocol)},
        "file": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
    if len(ready[0].targets) == 1:
        looks = (2 * len(ready), "scores and answers")
        with Kept(name, *looks, folder=run.folder, asked=asked) as pieces:
            found = foretell(
                scorer, ready, budget=protocol.draws, steps=protocol.steps, pieces=pieces
            )
        return {**found.to_json(), **left_out}, {}
    rules = protocol.rules
    with Kept(name, len(ready), "items", folder=run.folder, asked=asked) as pieces:
        chosen = choose(scorer, ready, rules, pmi=protocol.pmi, pieces=pieces)
    words = (
        "exact, one forward per option"
        if run.family.kind == "exact"
        else f"bound, at most {rules.most} draws per option under common noise, race at error "
        f"{rules.error:g}, seed {protocol.seed}"
    )
    value = {"kind": run.family.kind, **chosen.to_json(), "protocol": words, **left_out}
    return value, {"items": chosen.items_json()}


def text_result(
    run: Trained, file: Path, task: Task, protocol: Protocol, device: str
) -> dict[str, Any]:
    """Likelihood of a text, detokenized as the task says; a limit counts documents."""
    assert task.rules is not None
    rules = task.rules
    texts = (
        document._replace(text=detokenized(document.text, rules))
        for document in documents([file], separator=task.separator)
    )
    found = evaluate_documents(
        run, islice(texts, protocol.limit), budget=protocol.draws, seed=protocol.seed, device=device
    ).to_json()
    del found["documents"]
    return {**found, "protocol": f"detokenization {rules}; {found['protocol']}"}
