"""Draw text from a trained run."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from tyro.conf import arg

from isodiff.cli.options import File, Number, NumTokens, Opening, RunFolder, Seed, Text
from isodiff.cli.sampler_options import SamplerOptions, sampler_settings
from isodiff.cli.verb import Answer
from isodiff.data.tokenizer import NO_TOKEN_MARK
from isodiff.errors import InputError
from isodiff.families import sample, undecided
from isodiff.families.base import UNDECIDED, Sampler
from isodiff.families.sampling import Trajectory, sample_trajectories
from isodiff.report.film import SHOWN, Film, Take, write_film
from isodiff.rng import Streams
from isodiff.runs.build import Trained
from isodiff.runs.resumable import Kept
from isodiff.types import Tokens


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Options:
    """What `isodiff sample` needs beside the sampler's own options.

    Attributes:
        num: How many texts.
        length: Tokens per text, prompt included; the training length by default.
        prompt: How every text begins.
        suffix: How every text ends; families that write from left to right cannot.
        blank: This mark stands for one token to fill in, wherever it is in prompt and suffix.
        to_end: Cut every text at its first end of document; a family that can stop there does.
        batch_size: Texts drawn at a time.
        trace: A film of how the first 8 texts come about: an HTML page that needs no network.
    """

    num: Number = 4
    length: NumTokens | None = None
    prompt: Text = ""
    suffix: Text = ""
    blank: Text | None = None
    to_end: bool = False
    seed: Seed = 0
    batch_size: Number = 64
    trace: File | None = None


def run(
    folder: RunFolder,
    options: Annotated[_Options, arg(name="")],
    opening: Opening,
    sampler_options: SamplerOptions,
) -> Answer:
    """Draw texts from a run. Which of the sampler's options apply is decided by the run's family."""
    if options.trace is not None:
        _make_room(options.trace)
    trained = opening.load(folder)
    eos = trained.corpus.tokenizer.eos
    known = {field.name for field in dataclasses.fields(trained.family.sampler)}
    settings = sampler_settings(type(trained.family), sampler_options)
    if options.to_end and "stop" in known:
        settings = {**settings, "stop": eos}
    if "window" in known and settings["window"] is None:
        settings = {**settings, "window": trained.spec.length}  # no context was longer in training
    sampler = trained.family.sampler(**settings)
    start = _initial_state(trained, options).to(opening.device)
    began = time.monotonic()
    tokens, nfe, trajectories = _drawn(trained, start, sampler, options)
    seconds = time.monotonic() - began
    written = int((start == UNDECIDED).sum()) * options.num - int((tokens == UNDECIDED).sum())
    samples = []
    for row, count in zip(tokens.cpu().numpy(), nfe.tolist(), strict=True):
        kept, finished = _finish(row, eos if options.to_end else None)
        text = trained.corpus.tokenizer.decode(kept)
        samples.append({"text": text, "tokens": kept.tolist(), "nfe": count, "finished": finished})
    value = {
        "run": trained.spec.id,
        "family": trained.family.name,
        "sampler": dataclasses.asdict(sampler),
        "samples": samples,
        "seed": options.seed,
        "tokens_per_second": written / seconds,
        "batch": min(options.num, options.batch_size),
        "dtype": str(next(trained.network.parameters()).dtype).removeprefix("torch."),
        "device": opening.device,
        "trace": None if options.trace is None else str(options.trace),
    }
    texts = "\n\n----\n\n".join(one["text"] for one in samples)
    speed = f"{value['tokens_per_second']:.0f} tokens/s at batch {value['batch']}"
    ends = Counter(one["finished"] for one in samples)
    ended = ", ".join(f"{count} by {reason}" for reason, count in sorted(ends.items()))
    evaluations = f"{float(nfe.float().mean()):.1f} network evaluations"
    said = f"{texts}\n\n{evaluations}, {speed}; ended {ended}"
    if options.trace is not None:
        takes = [
            Take(
                start=start[0].tolist(),
                noise=made.noise,
                frames=made.frames,
                text=one["text"],
                kept=len(one["tokens"]),
            )
            for made, one in zip(trajectories, samples, strict=False)
        ]
        film = Film(
            family=trained.family.name,
            run=trained.spec.id,
            seed=options.seed,
            sampler=settings,
            takes=takes,
            num=options.num,
            spelling=trained.corpus.tokenizer.spelling,
            end=eos,
        )
        write_film(options.trace, film)
        which = f"the first {SHOWN} texts" if options.num > SHOWN else "all texts"
        said += f"\n{options.trace}: a film of {which}"
    return Answer(value, said)


def _finish(row: np.ndarray, eos: int | None) -> tuple[np.ndarray, str]:
    """The text up to its end of document or the first position left undecided, and what ended it.

    "eos", "repetition" (the sampler gave it up) or "length".
    """
    for token, reason in ((eos, "eos"), (UNDECIDED, "repetition")):
        ends = [] if token is None else (row == token).nonzero()[0]
        if len(ends):
            return row[: ends[0]], reason
    return row, "length"


def _make_room(path: Path) -> None:
    """See to it that a file can be written there, before any work is done.

    Raises:
        InputError: it cannot.
    """
    if path.is_dir():
        raise InputError(
            f"{path} is a folder; give the film a name in it, {path / 'film.html'} say"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{path} lies in {path.parent}, which is not a folder") from None


def _initial_state(trained: Trained, options: _Options) -> Tokens:
    """One text to fill, (1, L): prompt, undecided positions, suffix.

    Raises:
        InputError: they leave nothing to write.
    """
    length = options.length or trained.spec.length
    first = _encoded(trained, options.prompt, options.blank)
    last = _encoded(trained, options.suffix, options.blank, within=True)
    left = length - len(first) - len(last)
    if left < 0 or UNDECIDED not in first + last + [UNDECIDED] * left:
        raise InputError(
            f"prompt and suffix have {len(first) + len(last)} tokens, which leaves nothing to write of "
            f"{length}; shorten them or give a larger --length"
        )
    return torch.tensor([first + [UNDECIDED] * left + last])


def _encoded(trained: Trained, text: str, blank: str | None, *, within: bool = False) -> list[int]:
    """Token ids of a text, `within` one if something stands before it; marks are undecided.

    What follows a mark stands within the text. A tokenizer that does not keep a piece as it is says so.
    """
    tokenizer = trained.corpus.tokenizer
    ids: list[int] = []
    for number, part in enumerate(text.split(blank) if blank else [text]):
        ids += [UNDECIDED] * (number > 0)
        encoded = tokenizer.encode_within(part) if within or number else tokenizer.encode(part)
        kept = tokenizer.decode(np.append(UNDECIDED, encoded) if within or number else encoded)
        if (kept := kept.removeprefix(NO_TOKEN_MARK)) != part:
            print(f"tokenizer {tokenizer.name} takes {part!r} for {kept!r}", file=sys.stderr)
        ids += encoded.tolist()
    return ids


def _drawn(
    trained: Trained, start: Tokens, sampler: Sampler, options: _Options
) -> tuple[Tokens, torch.Tensor, list[Trajectory]]:
    """All texts, batch by batch, and where a film is asked for how the first came about."""
    tokens, nfe = [undecided(0, start.shape[1])], [torch.zeros(0, dtype=torch.long)]
    trajectories: list[Trajectory] = []

    def write(first: int, count: int) -> None:
        rng = Streams(options.seed, count, first=first, device=start.device)
        what = (trained.family, trained.network, start.expand(count, -1), sampler)
        if options.trace is not None and first < SHOWN:
            *found, made = sample_trajectories(*what, rng=rng, num=SHOWN - first)
            trajectories.extend(made)
        else:
            found = sample(*what, rng=rng)
        tokens.append(found[0].cpu())
        nfe.append(found[1].cpu())

    with Kept("sample", options.num, "texts") as pieces:
        for first in range(0, options.num, options.batch_size):
            count = min(options.batch_size, options.num - first)
            pieces(count, partial(write, first, count))
    return torch.cat(tokens), torch.cat(nfe), trajectories
