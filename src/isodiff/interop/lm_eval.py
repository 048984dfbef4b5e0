"""lm-evaluation-harness: a run of any family as its model `isodiff`, and its tasks from our command line.

Importing this module registers the model, so after it the harness finds it by name; for its own command
line,

    python -m isodiff.interop.lm_eval run --model isodiff --model_args run=runs/ID --tasks ...

`loglikelihood`: the options of a document share their noise, `draws` of it each (one forward where the
family is exact). A bound is handed over as minus its nats: metrics that exponentiate it get a bound.
Whether a text is `greedy` is looked at only where a document has a single request, as it takes writing the
text. `loglikelihood_rolling`: windows of the run's length, each token scored once. `generate_until`: the
family's own sampler, with the settings that the harness makes of a task's for a Hugging Face model, cut at
the first of the strings given; each repeat of a request has noise of its own.
"""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import normalize_gen_kwargs, postprocess_generated_text

from isodiff.errors import InputError, reason
from isodiff.evaluate.batching import same_shape
from isodiff.evaluate.cloze import predicted, target_nats
from isodiff.evaluate.items import Target, boundary
from isodiff.evaluate.scoring import Scorer
from isodiff.families.base import UNDECIDED, Sampler
from isodiff.families.sampling import sample
from isodiff.rng import Placed
from isodiff.runs.build import Trained, load
from isodiff.runs.resumable import Kept

DRAWS_PER_REQUEST = 32  # by default
_ANSWER_TOKENS = 256  # where a task does not say; that of the harness's Hugging Face models
_TRUNCATIONS = ("top_k", "top_p", "min_p")
_FOLLOWED = {"do_sample", "temperature", "until", "max_gen_toks", "max_length", *_TRUNCATIONS}
_Document = tuple[str, int]
"""A task and the number of one of its documents: what its requests share their noise by."""


class _Writing(NamedTuple):
    """A context with undecided tokens behind it, how many are given, the sampler, and where answers end."""

    start: np.ndarray
    given: int
    sampler: Sampler
    until: list[str]


class IsodiffModel(LM):
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
        draws: int = DRAWS_PER_REQUEST,
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
        self._said: set[str] = set()

    @property
    def num_forwards(self) -> int:
        """Sequences shown to the network so far, in scoring and in writing."""
        return self.scorer.num_forwards + self.nfe

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """log p(continuation | context), and whether the family would write the continuation."""
        whole = [self._target(*request.args) for request in requests]
        keys = [_document(request) for request in requests]
        alone = _options(requests)
        scores = self._scored(whole, keys, alone)
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
        keys = [_document(request) for request in requests]
        return self._scored(whole, keys, _options(requests))

    def _scored(
        self, whole: list[Target], keys: list[_Document], num: Counter[_Document]
    ) -> list[float]:
        """Log-likelihoods, those of windows added up; `num` requests of a document share their noise."""
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
        own = [self._writing(*request.args) for request in requests]
        keys = _repeats(requests)
        family, network, device = self.trained.family, self.trained.network, self.scorer.device
        shapes = [(len(one.start), one.sampler) for one in own]
        for batch in same_shape(shapes, lambda shape: self.scorer.batch_tokens // shape[0]):
            start = torch.from_numpy(np.stack([own[i].start for i in batch])).to(device)
            noise = [keys[i] for i in batch]
            rng = Placed(self.scorer.seed, noise, torch.zeros(len(batch)), device=device)
            written, nfe = sample(family, network, start, own[batch[0]].sampler, rng=rng)
            self.nfe += int(nfe.sum())
            for i, row in zip(batch, written.cpu().numpy(), strict=True):
                texts[i] = self._cut(row[own[i].given :], own[i].until)
        return texts

    def _writing(self, context: str, settings: dict[str, Any]) -> _Writing:
        """A task's settings, by the names and the rules of the harness's Hugging Face models.

        The answer has all of its room, and a long context loses its beginning. Where the harness refuses an
        answer as long as the model, it gets half of the run's length.
        """
        length = self.length
        try:
            asked: dict[str, Any] = {
                **normalize_gen_kwargs(settings, max(1, min(_ANSWER_TOKENS, length // 2)))
            }
        except (TypeError, ValueError) as error:
            raise InputError(f"malformed generation settings {settings}: {reason(error)}") from None
        others = asked.keys() - _FOLLOWED
        if ignored := sorted(one for one in others if asked[one] not in (None, False, 1)):
            self._say(f"the task's settings {', '.join(ignored)} are not followed")
        most = asked["max_gen_toks"]
        if most < 1:
            raise InputError(f"a task asks for answers of {most} tokens; at least 1 is wanted")
        if most >= length:
            self._say(
                f"a task asks for answers of {most} tokens, the run has {length} in all: they get half"
            )
            most = max(1, length // 2)
        ids = self.tokenizer.encode(context)
        ids = ids[max(0, len(ids) - (length - most)) :]
        whole = min(asked.get("max_length") or len(ids) + most, length)
        if whole <= len(ids):
            raise InputError(
                f"max_length {whole} leaves no room behind {len(ids)} tokens of context"
            )
        start = np.append(ids, np.full(whole - len(ids), UNDECIDED))
        until = [str(mark) for mark in asked["until"] if mark]
        return _Writing(start, len(ids), self._sampler(asked), until)

    def _sampler(self, asked: dict[str, Any]) -> Sampler:
        """The likeliest token at a time, unless the task samples, at a temperature that is not 0."""
        own: dict[str, Any] = {"temperature": 0.0}
        if asked["do_sample"] and asked.get("temperature") != 0:
            own = {name: asked[name] for name in _TRUNCATIONS if asked.get(name) is not None}
            own["temperature"] = float(asked.get("temperature", 1.0))
            own["top_k"] = own.get("top_k") or None  # 0 stands for all
        known = {field.name for field in dataclasses.fields(self.trained.family.sampler)}
        if "stop" in known:
            own["stop"] = self.tokenizer.eos
        if "window" in known:
            own["window"] = self.length
        return self.trained.family.sampler_with(self.steps, **own)

    def _cut(self, ids: np.ndarray, until: list[str]) -> str:
        """The text up to its end of document, and to the first of the strings `until`."""
        ends = (ids == self.tokenizer.eos).nonzero()[0]
        text = self.tokenizer.decode(ids[: ends[0]] if len(ends) else ids)
        return postprocess_generated_text(text, until, None)

    def _say(self, line: str) -> None:
        """On standard error, once."""
        if line not in self._said:
            print(f"isodiff: {line}", file=sys.stderr)
        self._said.add(line)


register_model("isodiff")(IsodiffModel)


def _document(request: Instance) -> _Document:
    return str(request.task_name), -1 if request.doc_id is None else int(request.doc_id)


def _options(requests: list[Instance]) -> Counter[_Document]:
    """How many requests each document has; repeats of one, which are the same object, count once."""
    return Counter(_document(one) for one in {id(one): one for one in requests}.values())


def _repeats(requests: list[Instance]) -> list[tuple[str, int, int]]:
    """The document of each request, and how often the request came before."""
    seen: Counter[int] = Counter()
    keys = []
    for one in requests:
        keys.append((*_document(one), seen[id(one)]))
        seen[id(one)] += 1
    return keys


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    sys.exit(cli_evaluate())
