"""What verbs that train one run share: where it goes, on what, and what they say of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from isodiff.cli.evaluation_text import bits_text, nats_text
from isodiff.cli.options import Device, Folder, RankSeconds, Seconds, Seed, Threads
from isodiff.data.tokens import Corpus
from isodiff.errors import SaidElsewhere, WorkFailed, printable
from isodiff.progress import TrainingLine
from isodiff.record import Record
from isodiff.runs.spec import RunSpec
from isodiff.serialization import to_json
from isodiff.train.examples import Examples
from isodiff.train.initialization import Initialization
from isodiff.train.loop import train
from isodiff.train.ranks import Parallel, Ranks, joined
from isodiff.units import clock


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """Of one run.

    Attributes:
        out: Folder of runs; the run goes to OUT/<id>.
        checkpoint_seconds: Time between checkpoints.
        parallel: What ranks that torchrun starts keep: all of the network (ddp), or each a part of it (fsdp).
        rank_timeout: How long ranks wait for each other.
    """

    seed: Seed = 0
    out: Folder = Path("runs")
    threads: Threads = 0
    device: Device = "cpu"
    checkpoint_seconds: Seconds = 60.0
    parallel: Parallel = "ddp"
    rank_timeout: RankSeconds = 600.0

    @contextmanager
    def ranks(self) -> Iterator[Ranks]:
        """The ranks of the run; where they end well, the first one alone answers."""
        with joined(self.parallel, self.device, self.rank_timeout) as ranks:
            yield ranks
        if not ranks.leads:
            raise SaidElsewhere(code=0)

    def set_threads(self) -> None:
        """Those of this process, if a number was given."""
        if self.threads:
            torch.set_num_threads(self.threads)

    def train(
        self,
        spec: RunSpec,
        summary: str,
        corpus: Corpus,
        init: Initialization | None,
        source: Examples | None = None,
        *,
        ranks: Ranks,
        with_bits: bool = True,
    ) -> tuple[Path, Record, str]:
        """The run's folder, its record, and the same for people to read.

        Raises:
            WorkFailed: it stopped.
        """
        folder, family = self.out / spec.id, spec.family["name"]
        ranks.check(spec)
        if ranks.leads:
            print(printable(f"{summary}\n{folder}"), file=sys.stderr)
        record = train(
            spec,
            folder,
            corpus,
            init=init,
            source=source,
            device=ranks.device,
            report=TrainingLine(family),
            checkpoint_seconds=self.checkpoint_seconds,
            ranks=ranks,
        )
        found = record.validation
        if found is None:
            raise WorkFailed(f"{folder} stopped: {record.message}", to_json(record))
        bits = f", {bits_text(found)}" if with_bits else ""
        after = clock(record.wall_seconds or 0)
        text = f"{folder}\nheld out: {nats_text(found)}{bits} ({found.protocol}) after {after}"
        return folder, record, text
