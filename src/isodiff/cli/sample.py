"""`isodiff sample RUN`: text from a trained run. The flags include those of its family's sampler."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isodiff.cli import Answer
from isodiff.cli.flags import named_run, parse
from isodiff.errors import InputError
from isodiff.families import family_named, sample, undecided
from isodiff.families.base import UNDECIDED, Sampler
from isodiff.families.sampling import Trajectory, sample_trajectories
from isodiff.report.film import SHOWN, Film, Take, write_film
from isodiff.rng import Streams
from isodiff.runs.build import Trained, load
from isodiff.runs.resumable import Kept
from isodiff.runs.spec import RunSpec
from isodiff.types import Tokens

USAGE = (
    "usage: isodiff sample RUN [options]\n\n"
    "isodiff sample RUN --help shows the options, which depend on the run's family."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What `isodiff sample` needs beside the sampler's own options.

    Attributes:
        num: how many texts.
        length: tokens per text, prompt included; the training length by default.
        prompt: how every text begins.
        suffix: how every text ends; families that write from left to right cannot.
        hole: each occurrence of this mark in prompt and suffix is one token to fill in.
        to_end: cut every text at its first end of document; a family that can stop there does.
        seed: of the draws; text i of a seed is the same whatever the number and the batch.
        batch_size: texts drawn at a time.
        trace: a film of how the first 8 texts come about: an HTML page that needs no network.
        corpus: the run's corpus, if it has moved.
        device: cpu, cuda, ...
        threads: CPU threads; 0 leaves the default.
    """

    num: int = 4
    length: int | None = None
    prompt: str = ""
    suffix: str = ""
    hole: str | None = None
    to_end: bool = False
    seed: int = 0
    batch_size: int = 64
    trace: Path | None = None
    corpus: Path | None = None
    device: str = "cpu"
    threads: int = 0


def command(argv: list[str]) -> Answer:
    """Parse `RUN [options]` and draw."""
    folder = named_run(argv)
    if folder is None:
        return Answer({}, USAGE)
    cls = family_named(RunSpec.read(folder).family["name"])
    does = "Draw texts from a run"
    chosen, settings = parse(Options, cls, argv[1:], verb="sample", does=does, defaults={})
    return run(folder, settings, chosen)


def run(folder: Path, settings: dict[str, Any], options: Options) -> Answer:
    """Draw the texts."""
    if options.num < 1 or options.batch_size < 1:
        raise InputError("num and batch_size must be at least 1")
    if options.trace is not None:
        make_room(options.trace)
    if options.threads:
        torch.set_num_threads(options.threads)
    trained = load(folder, corpus=options.corpus, device=options.device)
    eos = trained.corpus.tokenizer.eos
    known = {field.name for field in dataclasses.fields(trained.family.sampler)}
    if options.to_end and "stop" in known:
        settings = {**settings, "stop": eos}
    if "window" in known and settings["window"] is None:
        settings = {**settings, "window": trained.spec.length}  # no context was longer in training
    sampler = trained.family.sampler(**settings)
    start = canvas(trained, options)
    began = time.monotonic()
    tokens, nfe, makings = drawn(trained, start, sampler, options)
    seconds = time.monotonic() - began
    written = int((start == UNDECIDED).sum()) * options.num - int((tokens == UNDECIDED).sum())
    samples = []
    for row, count in zip(tokens.cpu().numpy(), nfe.tolist(), strict=True):
        kept, finished = finish(row, eos if options.to_end else None)
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
        "device": options.device,
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
            for made, one in zip(makings, samples, strict=False)
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


def finish(row: np.ndarray, eos: int | None) -> tuple[np.ndarray, str]:
    """The text up to its end of document or its first hole left, and what ended it.

    "eos", "repetition" (the sampler gave it up) or "length".
    """
    for token, reason in ((eos, "eos"), (UNDECIDED, "repetition")):
        ends = [] if token is None else (row == token).nonzero()[0]
        if len(ends):
            return row[: ends[0]], reason
    return row, "length"


def make_room(path: Path) -> None:
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


def canvas(trained: Trained, options: Options) -> Tokens:
    """One text to fill, (1, L): prompt, holes, suffix.

    Raises:
        InputError: they leave nothing to write.
    """
    length = options.length or trained.spec.length
    first, last = (
        encoded(trained, text, options.hole) for text in (options.prompt, options.suffix)
    )
    holes = length - len(first) - len(last)
    if holes < 0 or UNDECIDED not in first + last + [UNDECIDED] * holes:
        raise InputError(
            f"prompt and suffix have {len(first) + len(last)} tokens, which leaves nothing to write of "
            f"{length}; shorten them or give a larger --length"
        )
    return torch.tensor([first + [UNDECIDED] * holes + last], device=options.device)


def encoded(trained: Trained, text: str, hole: str | None) -> list[int]:
    """Token numbers of a text, its marks as holes."""
    ids: list[int] = []
    for number, part in enumerate(text.split(hole) if hole else [text]):
        ids += [UNDECIDED] * (number > 0)
        if part:
            ids += trained.corpus.tokenizer.encode(part).tolist()
    return ids


def drawn(
    trained: Trained, start: Tokens, sampler: Sampler, options: Options
) -> tuple[Tokens, torch.Tensor, list[Trajectory]]:
    """All texts, batch by batch, and where a film is asked for how the first came about."""
    tokens, nfe = [undecided(0, start.shape[1])], [torch.zeros(0, dtype=torch.long)]
    makings: list[Trajectory] = []

    def write(first: int, count: int) -> None:
        rng = Streams(options.seed, count, first=first, device=options.device)
        what = (trained.family, trained.network, start.expand(count, -1), sampler)
        if options.trace is not None and first < SHOWN:
            *found, made = sample_trajectories(*what, rng=rng, num=SHOWN - first)
            makings.extend(made)
        else:
            found = sample(*what, rng=rng)
        tokens.append(found[0].cpu())
        nfe.append(found[1].cpu())

    with Kept("sample", options.num, "texts") as pieces:
        for first in range(0, options.num, options.batch_size):
            count = min(options.batch_size, options.num - first)
            pieces(count, partial(write, first, count))
    return torch.cat(tokens), torch.cat(nfe), makings
