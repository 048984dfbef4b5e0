"""The types of options, with what `--help` shows for each: said once, used by every verb."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from isodiff.bounds import (
    Count,
    DeviceName,
    FewTimes,
    FlopCount,
    Fraction,
    Interval,
    Positive,
    SeedNumber,
    Several,
    ThreadCount,
    ThreadCountOrNone,
    TimeLimit,
    TimesOrNone,
    TokenCount,
    Utf8,
    Whole,
)
from isodiff.errors import InputError, nearest

if TYPE_CHECKING:
    from isodiff.runs.build import Trained
    from isodiff.study.study import Study
    from isodiff.study.workers import Workers

Flops = Annotated[FlopCount, arg(metavar="FLOPS")]
Seconds = Annotated[Interval, arg(metavar="SECONDS")]
RankSeconds = Annotated[TimeLimit, arg(metavar="SECONDS")]
Minutes = Annotated[Positive, arg(metavar="MINUTES")]
Number = Annotated[Count, arg(metavar="N")]
AtLeastTwo = Annotated[Several, arg(metavar="N")]
NumberOrNone = Annotated[Whole, arg(metavar="N")]
NumReplicates = Annotated[TimesOrNone, arg(metavar="N")]
NumDraws = Annotated[FewTimes, arg(metavar="N")]
NumTokens = Annotated[TokenCount, arg(metavar="TOKENS")]
TokensPerSecond = Annotated[Positive, arg(metavar="TOKENS")]
Share = Annotated[Fraction, arg(metavar="SHARE")]
Name = Annotated[Utf8, arg(metavar="NAME")]
Text = Annotated[Utf8, arg(metavar="TEXT")]
File = Annotated[Path, arg(metavar="FILE")]
Folder = Annotated[Path, arg(metavar="FOLDER")]

RunFolder = Annotated[Path, Positional, arg(metavar="RUN", help="The run's folder.")]
STUDIES = Path(__file__).parents[1] / "studies"
"""Studies that come along: `demo` is demo.yaml there."""
_CARRIED = sorted(file.stem for file in STUDIES.glob("*.yaml"))
_STUDY_HELP = f"The study's YAML file, or one that comes along: {', '.join(_CARRIED)}."
StudyFile = Annotated[Path, Positional, arg(metavar="STUDY.yaml", help=_STUDY_HELP)]

Corpus = Annotated[Path, arg(metavar="FOLDER", help="The run's corpus, if it has moved.")]
Device = Annotated[
    DeviceName, arg(metavar="DEVICE", help="What the network runs on: cpu, cuda, cuda:1, ...")
]
Seed = Annotated[
    SeedNumber,
    arg(metavar="SEED", help="Of all random draws: the same seed gives the same result."),
]
Threads = Annotated[
    ThreadCountOrNone,
    arg(metavar="N", help="CPU threads of the process; 0 leaves the machine's default."),
]
WorkerThreads = Annotated[ThreadCount, arg(metavar="N", help="CPU threads of each worker.")]
NumWorkers = Annotated[
    ThreadCount,
    arg(
        metavar="N",
        help="Jobs done at the same time; by default as many as cores allow, or one for each GPU.",
    ),
]
StudyDevice = Annotated[
    DeviceName,
    arg(metavar="DEVICE", help="cpu; cuda for a worker on every GPU; or one GPU, cuda:1, ..."),
]
Shape = Annotated[
    Utf8, arg(metavar="SHAPE", help="A name of the ladder (25k, 113M), or DEPTHxWIDTHxHEADS.")
]
Json = Annotated[bool, arg(help="Print one JSON object on stdout, and everything else on stderr.")]
Source = Annotated[Utf8, arg(metavar="SOURCE")]
RunFolders = Annotated[Path, arg(metavar="RUN")]


@dataclass(frozen=True, kw_only=True)
class _Opening:
    """How a trained run is opened."""

    corpus: Corpus | None = None
    device: Device = "cpu"
    threads: Threads = 0

    def load(self, folder: Path) -> Trained:
        """The run in `folder`."""
        import torch

        from isodiff.runs.build import load

        if self.threads:
            torch.set_num_threads(self.threads)
        return load(folder, corpus=self.corpus, device=self.device)


@dataclass(frozen=True, kw_only=True)
class _StudyPlace:
    """Where a study works and with what.

    Attributes:
        out: The study's folder; runs/<name> by default.
        minutes: Scale all budgets so that the whole study takes this long on this machine.
    """

    out: Folder | None = None
    minutes: Minutes | None = None
    workers: NumWorkers | None = None
    threads: WorkerThreads = 1
    device: StudyDevice = "cpu"

    def read(self, file: Path) -> tuple[Study, Path]:
        """The study of a YAML file or that comes along, and its folder."""
        from isodiff.study.study_file import read_study

        study = read_study(_study_file(file))
        return study, self.out or Path("runs") / study.name

    def workers_in(self, folder: Path) -> Workers:
        """The processes that do its work, logging there."""
        from isodiff.study.workers import Workers

        return Workers.on(self.device, folder, count=self.workers, threads=self.threads)


def _study_file(given: Path) -> Path:
    """The user's file, or a study that comes along, by its name."""
    name = str(given)
    if given.is_file() or given.suffix or len(given.parts) > 1:
        return given
    if name in _CARRIED:
        return STUDIES / f"{name}.yaml"
    raise InputError(
        f"{name} is no study's YAML file{nearest(name, _CARRIED)}; those that come along: "
        f"{', '.join(_CARRIED)}"
    )


Opening = Annotated[_Opening, arg(name="")]
StudyPlace = Annotated[_StudyPlace, arg(name="")]
