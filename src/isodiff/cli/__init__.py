"""The command line: `isodiff VERB ...`. A verb is a module of this folder with a function `run`.

`run`'s signature and docstring are the verb's options and help (tyro). It returns an `Answer`. A verb whose
options depend on its first word parses them itself in `command`.
Nothing heavy is imported before a verb is chosen, so `isodiff --help` is instant.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import sys
from typing import Any, NamedTuple

from isodiff.errors import InputError, nearest

VERBS = {
    "families": "list the families: exact or bound, FLOPs per token, reference",
    "corpus": "prepare a corpus: documents in, token shards out",
    "plan": "what a study, or a budget by known laws, takes: sizes, tokens, time, memory; runs nothing",
    "train": "train one family on a compute budget",
    "questions": "write sums in words with worked answers, to fine-tune on and to test",
    "finetune": "teach a trained run to answer questions, and count its right answers",
    "study": "families x budgets x sizes at matched compute, then fit and report",
    "sample": "draw text from a trained run",
    "evaluate": "nats per token and bits per byte of a run on held-out text",
    "frontier": "speed against quality of every sampler: who wins at each throughput",
    "fit": "fit scaling laws to records, to points.csv, or to published points",
    "cite": "BibTeX of what a run used",
    "report": "one self-contained HTML page from a study's folder",
}

RESUMED = {"train", "finetune", "study", "evaluate", "frontier"}


class Answer(NamedTuple):
    """What a verb says: a JSON object (`--json`) and the same for people to read."""

    value: dict[str, Any]
    text: str


def usage() -> str:
    """The top-level help."""
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:<{width}}  {line}" for verb, line in VERBS.items())
    return (
        "usage: isodiff VERB [options]\n\n"
        "Language-model families compared at matched compute.\n\n"
        f"{verbs}\n\n"
        "isodiff VERB --help shows a verb's options. Every verb takes --json: one JSON object on\n"
        "stdout, everything else on stderr. Bad input: one line on stderr, exit code 2.\n"
    )


class WorkFailed(Exception):
    """The work itself failed, though the input was good: exit code 1, the record still on stdout."""

    def __init__(self, message: str, value: dict[str, Any]) -> None:
        super().__init__(message)
        self.value = value


def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns the exit code (0 done, 1 the work failed, 2 the input was bad)."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(usage(), end="")
        return 0 if argv else 2
    if argv[0] == "--version":
        from importlib.metadata import version

        print(version("isodiff"))
        return 0
    verb, options = argv[0], argv[1:]
    if verb not in VERBS:
        known = ", ".join(VERBS)
        print(f"isodiff: no verb {verb!r}{nearest(verb, VERBS)}; verbs: {known}", file=sys.stderr)
        return 2
    as_json = "--json" in options
    options = [option for option in options if option != "--json"]
    try:
        answer = call(verb, options)
    except InputError as error:
        print(f"isodiff {verb}: {error}", file=sys.stderr)
        return 2
    except WorkFailed as error:
        print(f"isodiff {verb}: {error}", file=sys.stderr)
        if as_json:
            print(json.dumps(error.value, allow_nan=False))
        return 1
    except OSError as error:
        print(f"isodiff {verb}: {explain(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        goes_on = verb in RESUMED and "--harness" not in options
        then = "the same command goes on from here" if goes_on else "nothing was written"
        print(f"\nisodiff {verb}: interrupted; {then}", file=sys.stderr)
        return 130
    try:
        print(json.dumps(answer.value, allow_nan=False) if as_json else answer.text, flush=True)
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def call(verb: str, options: list[str]) -> Answer:
    """Import the verb's module, parse its options, run it."""
    import tyro

    from isodiff.allocator import keep_freed_memory

    keep_freed_memory()
    module = importlib.import_module(f"isodiff.cli.{verb}")
    if hasattr(module, "command"):
        return module.command(options)
    return tyro.cli(module.run, args=options, prog=f"isodiff {verb}")


def explain(error: OSError) -> str:
    """An operating-system error as what to do about it."""
    where = f" {error.filename}" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"no space left on the disk while writing{where}; free some and run it again"
    return f"{error.strerror or error}{where}"
