"""The types of options, with what `--help` shows for each: said once, used by every verb."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

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
