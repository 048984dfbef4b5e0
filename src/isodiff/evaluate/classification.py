r"""Classification by density (arXiv 2303.16203): the class under which a text is likeliest.

    c(x) = argmin_c  -log p(x | prompt of c),                                                      (1)

Bayes' rule with equal priors. The text is the same for all classes, and so is its noise (scoring.py): what
it costs under any class cancels in the differences that decide, and a sequential test (sequential_test.py)
drops classes clearly behind. For families with a bound the nats are those of the bound, with its weights:
the masked families' bound in strata of exactly k masks, not the unweighted error of the paper.

*Labels.* Training is conditional where documents begin with a token of their class that stands nowhere else
(`Corpus.labels`, recipe option `labels_given`). Otherwise a prompt says the class in words (zero shot).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, Field, StrictInt, StrictStr

from isodiff.bounds import Checked, Count, FewTimes, PartFraction, SeedNumber, TokenCount, Utf8
from isodiff.data.manifest import SPLITS, SplitName
from isodiff.data.tokens import Corpus
from isodiff.errors import InputError, nearest, shown
from isodiff.evaluate.choices import choose, how_chosen, item_results
from isodiff.evaluate.items import Item, Option, TokenizedItem, tokenize_items
from isodiff.evaluate.scoring import Scorer
from isodiff.evaluate.sequential_test import Decision, StoppingRule
from isodiff.files import storing
from isodiff.intervals import SuccessRate
from isodiff.json_lines import Fields, MalformedLine, read_json_lines
from isodiff.provenance import provenance
from isodiff.runs.build import Trained
from isodiff.runs.resumable import Kept
from isodiff.serialization import write_result
from isodiff.task_results import ClassificationResult

_LABEL = "{label}"


@dataclass(frozen=True, kw_only=True)
class ClassificationSettings(Checked):
    """How texts are classified.

    Attributes:
        prompt: what stands before a text, with {label} for its class; otherwise, as in training, the label.
        classes: labels; by default those of the corpus or, with a prompt, of the texts.
        error: chance, per text, that the sequential test drops the best class.
        draws: noise draws per class at most, where the likelihood is a bound.
        race: drop classes that are clearly behind; otherwise every class takes all draws.
        seed: of the noise.
        limit: texts taken, from the first on; all by default.
        batch_tokens: most tokens of a batch.
    """

    prompt: Utf8 | None = None
    classes: tuple[Utf8, ...] = ()
    error: PartFraction = 0.05
    draws: FewTimes = 128
    race: bool = True
    seed: SeedNumber = 0
    limit: Count | None = None
    batch_tokens: TokenCount = 2**14

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prompt is not None and _LABEL not in self.prompt:
            raise InputError(f"prompt {shown(self.prompt)} lacks {_LABEL}, where the class is put")

    @property
    def rule(self) -> StoppingRule:
        """Of the sequential test."""
        return StoppingRule(error=self.error, most=self.draws, race=self.race)

    def prompt_of(self, label: str) -> str:
        """What stands before a text of a class."""
        return (self.prompt or _LABEL).replace(_LABEL, label)


@dataclass(frozen=True, slots=True)
class LabeledText:
    """A text, its class, and its line or, of a split, its document, from 1."""

    line: int
    label: str
    text: str


class _Line(BaseModel):
    text: Annotated[str, Field(min_length=1)]
    label: StrictStr | StrictInt


def read_labeled(
    path: Path, limit: int | None = None
) -> tuple[list[LabeledText], list[MalformedLine]]:
    """The first `limit` texts of a file, and the malformed lines among them.

    Raises:
        InputError: no such file, or no line of it is a labeled text.
    """

    def parse(fields: Fields, line: int) -> LabeledText:
        value = _Line.model_validate(fields)
        return LabeledText(line, str(value.label), value.text)

    return read_json_lines(path, parse, what="labeled text", wanted="text and label", limit=limit)


def _labeled_documents(corpus: Corpus, split: SplitName) -> Iterator[LabeledText]:
    """The documents of a split, the first token of each being its label."""
    tokens, first = corpus.split(split), corpus.documents(split)[:, 0]
    ends = [*first[1:], tokens.num_tokens]
    for line, (start, end) in enumerate(zip(first, ends, strict=True), 1):
        label, *text = tokens.read(int(start), int(end) - 1)
        yield LabeledText(line, corpus.tokenizer.decode([label]), corpus.tokenizer.decode(text))


def classify(
    run: Trained, items: Path | SplitName, settings: ClassificationSettings, device: str = "cpu"
) -> ClassificationResult:
    """Classify the texts of a file, or of a split of the run's corpus, whose documents begin with labels.

    The result is written to `tasks/NAME.json` in the run's folder, NAME being that of the file, or
    `<split>-labels`; where no class is dropped on the way, `-full` follows.

    Raises:
        InputError: nothing to classify, fewer than two classes, a text of none of them, or, without a prompt,
            a run that saw no labels.
    """
    given = None if settings.prompt is not None and isinstance(items, Path) else _seen_labels(run)
    if isinstance(items, Path):
        name, labeled_texts = items.stem, read_labeled(items, settings.limit)
    else:
        name = f"{items}-labels"
        labeled_texts = [*islice(_labeled_documents(run.corpus, items), settings.limit)], []
    texts, malformed = labeled_texts
    classes = settings.classes or given or tuple(sorted({one.label for one in texts}))
    _check_classes(classes, given, run)
    found = tokenize_items(
        [_item(one, classes, settings, items) for one in texts],
        run.corpus.tokenizer,
        run.spec.length,
        documents=True,
    ).usable(items, run.spec.length, malformed)
    name += "" if settings.race or run.family.kind == "exact" else "-full"
    options = {"seed": settings.seed, "device": device, "batch_tokens": settings.batch_tokens}
    scorer = Scorer(run.family, run.network, **options)
    asked = {
        **{"run": run.spec.id, "step": run.step, "classes": classes, **asdict(settings)},
        "texts": [[one.line, one.label, one.text] for one in texts],
    }
    with Kept(name, len(found.ready), "texts", folder=run.folder, asked=asked) as pieces:
        decisions, forwards = choose(
            scorer, found.ready, settings.rule, per_byte=False, pieces=pieces
        )
    whole = replace(
        _result(found.ready, decisions, forwards, classes),
        task=name,
        run=run.spec.id,
        family=run.family.name,
        file=items.name if isinstance(items, Path) else None,
        kind=run.family.kind,
        prompts=tuple(map(settings.prompt_of, classes)),
        protocol="equal priors; " + how_chosen(run.family, settings.rule, settings.seed, "class"),
        **found.left_out,
    )
    stored = replace(whole, asked=settings, provenance=provenance())
    with storing():
        write_result(run.folder / "tasks" / f"{name}.json", stored)
    return replace(whole, items=None)


def split_named(name: str) -> SplitName | None:
    """The split of this name; None where it is none."""
    return next((split for split in SPLITS if split == name), None)


def _seen_labels(run: Trained) -> tuple[str, ...]:
    """The labels of the documents that the run was trained on."""
    ids = [] if run.spec.task else run.corpus.labels
    if len(ids) < 2:
        raise InputError(
            f"run {run.spec.id} never saw labels: its training documents do not begin with tokens of their "
            f"own; train on ones that do, or say classes in words: FILE --prompt 'A {_LABEL} text: '"
        )
    return tuple(run.corpus.tokenizer.decode([one]) for one in ids)


def _check_classes(classes: Sequence[str], seen: Sequence[str] | None, run: Trained) -> None:
    if len({*classes}) < max(2, len(classes)):
        raise InputError(
            f"classes {', '.join(map(repr, classes))}: classification takes two or more, each once; "
            "name them with --classes"
        )
    for one in classes:
        if seen and one not in seen:
            raise InputError(
                f"class {one!r} is none of the labels that run {run.spec.id} saw: {', '.join(seen)}"
            )


def _item(
    one: LabeledText,
    classes: Sequence[str],
    settings: ClassificationSettings,
    where: Path | SplitName,
) -> Item:
    """Its text after the prompt of every class."""
    if one.label not in classes:
        unit = "line" if isinstance(where, Path) else "document"
        raise InputError(
            f"{where}, {unit} {one.line}: label {one.label!r} is none of the "
            f"classes {', '.join(classes)}{nearest(one.label, classes)}"
        )
    options = (Option.joined(settings.prompt_of(label), one.text, "") for label in classes)
    return Item(one.line, tuple(options), classes.index(one.label))


def _result(
    items: Sequence[TokenizedItem],
    decisions: Sequence[Decision],
    num_forwards: int,
    classes: tuple[str, ...],
) -> ClassificationResult:
    """Accuracy with its interval, what was left undecided, which class was taken for which."""
    confusion = np.zeros((len(classes), len(classes)), int)
    for one, decision in zip(items, decisions, strict=True):
        confusion[one.item.gold, decision.best[0]] += 1
    rate = SuccessRate.of(int(confusion.trace()), len(items))
    return ClassificationResult(
        accuracy=rate.value,
        accuracy_interval=rate.interval,
        undecided=sum(decision.undecided[0] for decision in decisions),
        chance=1 / len(classes),
        num_items=len(items),
        num_forwards=num_forwards,
        num_shortened=0,
        classes=classes,
        prompts=(),
        confusion=tuple(map(tuple, confusion.tolist())),
        forwards_per_item=num_forwards / len(items),
        items=item_results(items, decisions),
    )
