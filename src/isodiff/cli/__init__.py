"""The command line: `isodiff VERB ...`. A verb is one module of this folder.

The first line of its docstring is its line of `isodiff --help`. It has a function `run`, or `COMMANDS` where
it does several things; signature and docstring of a function are options and help (parsing.py), and it
returns an `Answer`. Nothing heavy is imported before a verb is chosen, so `isodiff --help` is instant.
"""

from __future__ import annotations

import ast
import errno
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from isodiff.errors import InputError, nearest

_COMPLETION = ("--tyro-print-completion", "--tyro-write-completion")
_Function = TypeVar("_Function", bound=Callable[..., Any])


class Answer(NamedTuple):
    """What a verb says: a JSON object (`--json`) and the same for people to read."""

    value: dict[str, Any]
    text: str


class WorkFailed(Exception):
    """The work itself failed, though the input was good: exit code 1, the record still on stdout."""

    def __init__(self, message: str, value: dict[str, Any]) -> None:
        super().__init__(message)
        self.value = value


@dataclass(frozen=True, kw_only=True)
class Commands:
    """What a verb does, by the word that follows it: `isodiff plan study`.

    Attributes:
        what: what the word is, for messages.
        functions: each as `run` of a verb that does one thing.
        aliases: other names.
    """

    what: str = "command"
    functions: Mapping[str, Callable[..., Answer]]
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def resumable(function: _Function) -> _Function:
    """Mark a verb's function: interrupted and given again, the same command goes on."""
    function.resumable = True  # type: ignore[attr-defined]
    return function


def verbs() -> dict[str, str]:
    """Names of verbs with their lines of the help; their modules are read, not imported."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        defined = {node.name for node in module.body if isinstance(node, ast.FunctionDef)}
        for node in module.body:
            if isinstance(node, ast.Assign):
                defined |= {name.id for name in node.targets if isinstance(name, ast.Name)}
        if defined & {"run", "COMMANDS"}:
            found[path.stem] = (ast.get_docstring(module) or "").partition("\n")[0]
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code (0 done, 1 the work failed, 2 the input was bad)."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(_usage(), end="")
        return 0 if argv else 2
    if argv[0] == "--version":
        from importlib.metadata import version

        print(version("isodiff"))
        return 0
    if argv[0].replace("_", "-") in _COMPLETION:
        from isodiff.cli.parsing import complete

        try:
            return complete(list(verbs()), argv)
        except InputError as error:
            print(f"isodiff: {error}", file=sys.stderr)
            return 2
    verb, options = argv[0], argv[1:]
    if verb not in (known := verbs()):
        print(
            f"isodiff: no verb {verb!r}{nearest(verb, known)}; verbs: {', '.join(known)}",
            file=sys.stderr,
        )
        return 2
    return _answered(verb, options)


def _answered(verb: str, options: list[str]) -> int:
    """Parse, run and print; what goes wrong is one line."""
    call, as_json = None, False
    try:
        from isodiff.allocator import keep_freed_memory
        from isodiff.cli.parsing import parse

        keep_freed_memory()
        call, as_json = parse(verb, options)
        answer = call()
    except InputError as error:
        print(f"isodiff {verb}: {error}", file=sys.stderr)
        return 2
    except WorkFailed as error:
        print(f"isodiff {verb}: {error}", file=sys.stderr)
        if as_json:
            print(json.dumps(error.value, allow_nan=False))
        return 1
    except BrokenPipeError:
        return _reader_left()
    except OSError as error:
        print(f"isodiff {verb}: {_explained(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        goes_on = call is not None and getattr(call.func, "resumable", False)
        then = "the same command goes on from here" if goes_on else "nothing was written"
        print(f"\nisodiff {verb}: interrupted; {then}", file=sys.stderr)
        return 130
    try:
        print(json.dumps(answer.value, allow_nan=False) if as_json else answer.text, flush=True)
    except BrokenPipeError:
        return _reader_left()
    return 0


def _reader_left() -> int:
    """The reader of stdout, `head` say, has seen enough: that is no error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _usage() -> str:
    known = verbs()
    width = max(map(len, known))
    lines = "\n".join(f"  {verb:<{width}}  {line}" for verb, line in known.items())
    return (
        "usage: isodiff VERB [OPTIONS]\n\n"
        "Language-model families compared at matched compute.\n\n"
        f"{lines}\n\n"
        "isodiff VERB --help shows a verb's options, isodiff --version the version.\n"
        "Every verb takes --json: one JSON object on stdout, everything else on stderr.\n"
        "Bad input: one line on stderr, exit code 2.\n"
    )


def _explained(error: OSError) -> str:
    """An operating-system error as what to do about it."""
    where = f" {error.filename}" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"no space left on the disk while writing{where}; free some and run it again"
    return f"{error.strerror or error}{where}"
