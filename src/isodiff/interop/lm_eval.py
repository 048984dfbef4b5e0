"""lm-evaluation-harness: a run of any family as its model `isodiff`, and its tasks from our command line.

Importing this module registers the model, so after it the harness finds it by name; for its own command
line,

    python -m isodiff.interop.lm_eval run --model isodiff --model_args run=runs/ID --tasks ...

`loglikelihood`: the options of a document share their noise, `draws` of it each (one forward where the
family is exact). A bound is handed over as minus its nats: metrics that exponentiate it get a bound.
Whether a text is `greedy` is looked at only where a document has a single request, as it takes writing the
text. `loglikelihood_rolling`: windows of the run's length, each token scored once. `generate_until`: the
family's own sampler, cut at the first of the strings given.
"""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isodiff.errors import InputError, nearest
from isodiff.evaluate.batching import same_shape
from isodiff.evaluate.cloze import predicted, target_nats
from isodiff.evaluate.items import Target, boundary
from isodiff.evaluate.scoring import Scorer
from isodiff.evaluate.tasks import TaskSettings
from isodiff.families.base import UNDECIDED, Sampler, kind_and_law
from isodiff.families.sampling import sample
from isodiff.intervals import SuccessRate
from isodiff.provenance import provenance
from isodiff.rng import Placed
from isodiff.runs.build import Trained, load
from isodiff.runs.resumable import Kept
from isodiff.serialization import write_result
from isodiff.task_results import HarnessResult

try:
    import lm_eval
    from lm_eval import evaluator
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import LM
    from lm_eval.api.registry import register_model
    from lm_eval.tasks import TaskManager
except ImportError as error:
    raise InputError(
        f"lm-evaluation-harness is not installed ({error}); pip install 'isodiff[harness]'"
    ) from None


_DRAWS = 32  # a request, by default
_Document = tuple[str, int]
"""A task and the number of one of its documents: what its requests share their noise by."""


class _Isodiff(LM):
    """A trained run as the harness sees it.

    Args:
        run: its folder, or the run itself.
        draws: noise draws per option, where the likelihood is a bound.
        steps: of the sampler, where it has that dial.
        seed: of all noise.
        batch_tokens: most tokens of a batch.
        corpus: the run's corpus, if it has moved.
        device: cpu, cuda, ...
    """

    def __init__(
        self,
        run: str | Path | Trained,
        *,
        draws: int = _DRAWS,
        steps: int = 64,
        seed: int = 0,
        batch_tokens: int = 2**14,
        corpus: str | None = None,
        device: str | None = None,
        **ignored: Any,
    ) -> None:
        super().__init__()
        if device is None or (device.startswith("cuda") and not torch.cuda.is_available()):
            device = "cpu"  # the harness's command line asks for cuda unless told otherwise
        if not isinstance(run, Trained):
            run = load(Path(run), corpus=None if corpus is None else Path(corpus), device=device)
        self.trained, self.draws, self.steps = run, draws, steps
        self.tokenizer, self.length = run.corpus.tokenizer, run.spec.length
        self.scorer = Scorer(
            run.family, run.network, seed=seed, device=device, batch_tokens=batch_tokens
        )
        self.nfe = 0

    @property
    def num_forwards(self) -> int:
        """Sequences shown to the network so far, in scoring and in writing."""
        return self.scorer.num_forwards + self.nfe

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """log p(continuation | context), and whether the family would write the continuation."""
        whole = [self._target(*request.args) for request in requests]
        keys = [_document(request) for request in requests]
        scores = self._scored(whole, keys)
        alone = Counter(keys)
        single = [
            i for i, one in enumerate(whole) if alone[keys[i]] == 1 and len(one) <= self.length
        ]
        greedy = [False] * len(requests)
        if single:
            right, nfe = predicted(
                self.scorer, [whole[i] for i in single], [keys[i] for i in single], self.steps
            )
            self.nfe += nfe
            for i, same in zip(single, right, strict=True):
                greedy[i] = same
        return list(zip(scores, greedy, strict=True))

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """log p(text), window by window."""
        whole = [Target(self.tokenizer.encode(request.args[0]), 0) for request in requests]
        return self._scored(whole, [_document(request) for request in requests])

    def _scored(self, whole: list[Target], keys: list[_Document]) -> list[float]:
        """Log-likelihoods, those of windows added up."""
        num = Counter(keys)
        total = np.zeros(len(whole))
        for shared in (True, False):
            windows = [
                (number, (*keys[number], n), window)
                for number, one in enumerate(whole)
                if (num[keys[number]] > 1) == shared
                for n, window in enumerate(one.windows(self.length))
                if len(window)
            ]
            if windows:
                numbers, own, targets = map(list, zip(*windows, strict=True))
                with Kept("scoring", len(targets), "requests") as pieces:
                    if shared:
                        nats = self.scorer.mean(targets, own, self.draws, pieces=pieces)
                    else:
                        score = target_nats(self.scorer, targets, own, None, pieces=pieces)
                        nats, self.nfe = score.nats, self.nfe + score.num_forwards
                np.add.at(total, numbers, nats)
        return (-total).tolist()

    def _target(self, context: str, continuation: str) -> Target:
        """The tokens, divided where the boundary belongs; a long context loses its beginning."""
        whole = Target.encoded(self.tokenizer, *boundary(context, continuation))
        cut = min(max(0, len(whole) - self.length), whole.known)
        return Target(whole.ids[cut:], whole.known - cut)

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """What the family writes after each context, up to the first of the strings `until`."""
        texts = [""] * len(requests)
        prompts = [self._prompt(*request.args) for request in requests]
        family, network, device = self.trained.family, self.trained.network, self.scorer.device
        shapes = [(len(ids), sampler) for ids, _, sampler in prompts]
        for batch in same_shape(shapes, lambda shape: self.scorer.batch_tokens // shape[0]):
            start = torch.from_numpy(np.stack([prompts[i][0] for i in batch])).to(device)
            keys = [_document(requests[i]) for i in batch]
            rng = Placed(self.scorer.seed, keys, torch.zeros(len(batch)), device=device)
            written, nfe = sample(family, network, start, shapes[batch[0]][1], rng=rng)
            self.nfe += int(nfe.sum())
            for i, row in zip(batch, written.cpu().numpy(), strict=True):
                texts[i] = self._cut(row[prompts[i][1] :], requests[i].arguments[1])
        return texts

    def _prompt(self, context: str, settings: dict[str, Any]) -> tuple[np.ndarray, int, Sampler]:
        """What is to be filled, how much of it is given, and the sampler, at the harness's settings."""
        ids = self.tokenizer.encode(context)
        most = int(settings.get("max_gen_toks", self.length // 2))
        room = max(1, min(most, self.length - min(len(ids), self.length // 2)))
        ids = ids[max(0, len(ids) - (self.length - room)) :]
        known = {field.name for field in dataclasses.fields(self.trained.family.sampler)}
        own: dict[str, Any] = {"temperature": 0.0}
        if settings.get("do_sample"):
            asked = {
                name: settings[name]
                for name in ("temperature", "top_k", "top_p")
                if name in settings
            }
            own = {"temperature": 1.0, **asked}
        if "stop" in known:
            own["stop"] = self.tokenizer.eos
        if "window" in known:
            own["window"] = self.length
        start = np.append(ids, np.full(room, UNDECIDED))
        return start, len(ids), self.trained.family.sampler_with(self.steps, **own)

    def _cut(self, ids: np.ndarray, settings: dict[str, Any]) -> str:
        """The text up to its end of document, and to the first of the strings `until`."""
        ends = (ids == self.tokenizer.eos).nonzero()[0]
        text = self.tokenizer.decode(ids[: ends[0]] if len(ends) else ids)
        until = settings.get("until") or []
        for mark in [until] if isinstance(until, str) else until:
            text = text.split(mark)[0] if mark else text
        return text


register_model("isodiff")(_Isodiff)


def _document(request: Instance) -> _Document:
    return str(request.task_name), -1 if request.doc_id is None else int(request.doc_id)


def run_harness(
    run: Trained,
    task: str,
    settings: TaskSettings,
    *,
    include_path: Path | None = None,
    num_fewshot: int | None = None,
    device: str = "cpu",
) -> HarnessResult:
    """Score a run on a task of the harness, write `tasks/<task>.json` into its folder, return what it says.

    Raises:
        InputError: no such task.
    """
    manager = _task_manager(task, include_path)
    model = _Isodiff(
        run,
        draws=settings.draws or _DRAWS,
        steps=settings.steps,
        seed=settings.seed,
        batch_tokens=settings.batch_tokens,
        device=device,
    )
    found = evaluator.simple_evaluate(
        model=model,
        tasks=[task],
        num_fewshot=num_fewshot,
        limit=settings.limit,
        task_manager=manager,
        log_samples=False,
        bootstrap_iters=0,
    )
    assert found is not None
    metrics = {
        name.split(",", 1)[0]: value
        for name, value in found.get("results", {})[task].items()
        if isinstance(value, float) and np.isfinite(value)
    }
    num_items = int(found.get("n-samples", {}).get(task, {}).get("effective", 0))
    draws = "" if run.family.kind == "exact" else f", {model.draws} draws per request"
    how = kind_and_law(run.family) + draws
    result = HarnessResult(
        task=task,
        run=run.spec.id,
        family=run.family.name,
        kind=run.family.kind,
        metrics=metrics,
        num_items=num_items,
        num_forwards=model.num_forwards,
        harness_version=lm_eval.__version__,
        protocol=f"lm-evaluation-harness {lm_eval.__version__}, {how}",
    )
    if num_items and "acc" in metrics:
        rate = SuccessRate.of(round(metrics["acc"] * num_items), num_items)
        result = dataclasses.replace(
            result, accuracy=metrics["acc"], accuracy_interval=rate.interval
        )
    stored = dataclasses.replace(result, provenance=provenance())
    write_result(run.folder / "tasks" / f"{task}.json", stored)
    return result


def _task_manager(task: str, include_path: Path | None) -> TaskManager:
    """A manager that knows the task: of the user's folder alone if it is there, which is much faster."""
    own = None
    if include_path is not None:
        if not include_path.is_dir():
            raise InputError(
                f"{include_path} is not a folder; --include-path takes that of task files"
            )
        own = TaskManager(include_path=str(include_path), include_defaults=False)
        if task in own.all_tasks:
            return own
    manager = TaskManager()
    if task not in manager.all_tasks:
        known = [*(own.all_tasks if own else []), *manager.all_tasks]
        raise InputError(
            f"lm-evaluation-harness has no task {task!r}{nearest(task, known)}; `lm-eval ls tasks` lists "
            "them, --include-path adds a folder of your own"
        )
    return manager


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    sys.exit(cli_evaluate())
