"""Benchmarks by name: which file each takes, how its parts are joined, what is measured.

A task is a file of JSON lines (items.py) and a joiner. Without a name, `isodiff evaluate RUN FILE.jsonl`
joins with a space and names the result after the file. Nothing is fetched: the files are the user's.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from isodiff.errors import InputError, nearest
from isodiff.evaluate.choices import choose, entries
from isodiff.evaluate.foretelling import foretell
from isodiff.evaluate.items import read_items
from isodiff.evaluate.race import Rules
from isodiff.evaluate.scoring import Scorer
from isodiff.files import write_json
from isodiff.record import provenance
from isodiff.train.run import Trained

ANSWER = "\nAnswer: "


@dataclass(frozen=True, slots=True)
class Task:
    """What a benchmark is.

    Attributes:
        joiner: what stands between context and continuation; None: a space, where neither brings white space.
        about: one line.
    """

    name: str
    joiner: str | None
    about: str


TASKS = {
    task.name: task
    for task in (
        Task("arc_easy", ANSWER, "school science, the easier questions (arXiv 1803.05457)"),
        Task("arc_challenge", ANSWER, "school science, the harder questions (arXiv 1803.05457)"),
        Task("piqa", ANSWER, "everyday physics, two ways to a goal (arXiv 1911.11641)"),
        Task("siqa", " ", "social situations (arXiv 1904.09728)"),
        Task("winogrande", " ", "who is meant: two contexts, one continuation (arXiv 1907.10641)"),
        Task("boolq", ANSWER, "a passage and a yes-or-no question (arXiv 1905.10044)"),
        Task("openbook_qa", " ", "elementary science facts (arXiv 1809.02789)"),
        Task("hellaswag", " ", "how a story goes on, four endings (arXiv 1905.07830)"),
        Task("lambada", " ", "the last word of a passage (arXiv 1606.06031)"),
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
        draws: most noise draws per option, where the likelihood is a bound; None for 128 in a race, 32 for a
            text to be foretold.
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
        """Of a text to be foretold."""
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
        InputError: no line of the file can be used.
    """
    name = file.stem if task is None else task.name
    joiner = joiner if task is None else task.joiner
    items, malformed = read_items(file, joiner=joiner, limit=protocol.limit)
    ready, unfit = entries(items, run.corpus.tokenizer, run.spec.length)
    malformed = sorted([*malformed, *unfit])
    if not ready:
        first = malformed[0]
        raise InputError(f"{file} has no item that fits; line {first.line}: {first.reason}")
    scorer = Scorer(
        run.family,
        run.network,
        seed=protocol.seed,
        device=device,
        batch_tokens=protocol.batch_tokens,
    )
    if len(ready[0].targets) == 1:
        draws = protocol.draws_each
        found = foretell(scorer, ready, draws=draws, steps=protocol.steps).to_json()
        words = f"{draws} draws per target"
        each: list[dict[str, Any]] = []
    else:
        chosen = choose(scorer, ready, protocol.rules, pmi=protocol.pmi)
        found, each = chosen.to_json(), chosen.items_json()
        rules = protocol.rules
        words = (
            f"at most {rules.most} draws per option, common noise, race at error {rules.error:g}"
        )
    exact = run.family.kind == "exact"
    value = {
        "task": name,
        "run": run.spec.id,
        "family": run.family.name,
        "file": file.name,
        "kind": run.family.kind,
        **found,
        "protocol": "exact, one forward per option"
        if exact
        else f"bound, {words}, seed {protocol.seed}",
        "num_malformed": len(malformed),
        "malformed": [one._asdict() for one in malformed],
    }
    whole = {**value, "items": each, "asked": asdict(protocol), "provenance": provenance()}
    write_json(run.folder / "tasks" / f"{name}.json", whole)
    return value
