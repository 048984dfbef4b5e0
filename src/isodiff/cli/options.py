"""The types of options, with what `--help` shows for each: said once, used by every verb."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

if TYPE_CHECKING:
    from isodiff.runs.build import Trained
    from isodiff.study.study import Study

Flops = Annotated[float, arg(metavar="FLOPS")]
Seconds = Annotated[float, arg(metavar="SECONDS")]
Minutes = Annotated[float, arg(metavar="MINUTES")]
Number = Annotated[int, arg(metavar="N")]
NumTokens = Annotated[int, arg(metavar="TOKENS")]
Share = Annotated[float, arg(metavar="SHARE")]
Name = Annotated[str, arg(metavar="NAME")]
Text = Annotated[str, arg(metavar="TEXT")]
File = Annotated[Path, arg(metavar="FILE")]
Folder = Annotated[Path, arg(metavar="FOLDER")]

RunFolder = Annotated[Path, Positional, arg(metavar="RUN", help="The run's folder.")]
StudyFile = Annotated[Path, Positional, arg(metavar="STUDY.yaml", help="The study's YAML file.")]

Corpus = Annotated[Path, arg(metavar="FOLDER", help="The run's corpus, if it has moved.")]
Device = Annotated[
    str, arg(metavar="DEVICE", help="What the network runs on: cpu, cuda, cuda:1, ...")
]
Seed = Annotated[
    int, arg(metavar="SEED", help="Of all random draws: the same seed gives the same result.")
]
Threads = Annotated[
    int, arg(metavar="N", help="CPU threads of the process; 0 leaves the machine's default.")
]
WorkerThreads = Annotated[int, arg(metavar="N", help="CPU threads of each worker.")]
Workers = Annotated[
    int,
    arg(metavar="N", help="Runs trained at the same time; by default as many as cores allow."),
]
Shape = Annotated[
    str, arg(metavar="SHAPE", help="A name of the ladder (25k, 113M), or DEPTHxWIDTHxHEADS.")
]
Json = Annotated[bool, arg(help="Print one JSON object on stdout, and everything else on stderr.")]
Source = Annotated[str, arg(metavar="SOURCE")]
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
    workers: Workers | None = None
    threads: WorkerThreads = 1

    def read(self, file: Path) -> tuple[Study, Path]:
        """The study of a YAML file, and its folder."""
        from isodiff.study.study import read_study

        study = read_study(file)
        return study, self.out or Path("runs") / study.name


Opening = Annotated[_Opening, arg(name="")]
StudyPlace = Annotated[_StudyPlace, arg(name="")]
