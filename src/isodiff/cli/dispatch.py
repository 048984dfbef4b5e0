"""One command line from its words to an exit code: verbs are found, called, and their failures told."""

from __future__ import annotations

import ast
import contextlib
import errno
import io
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from isodiff.errors import InputError, SaidElsewhere, WorkFailed, nearest, one_line, printable
from isodiff.files import storing_last

_COMPLETION = ("--tyro-print-completion", "--tyro-write-completion")


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


def dispatch(argv: Sequence[str]) -> int:
    """Run one verb; returns the exit code (0 done, 1 the work failed, 2 the input was bad)."""
    code = 0
    for stream in ("stdout", "stderr"):
        _always_there(stream)
    try:
        try:
            with storing_last() as unstored:
                code, said = _outcome(list(argv))
            if said:
                print(printable(said))
            for error in unstored:
                code = _failed(1, argv[0], f"{_explained(error)}; the answer is not stored")[0]
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # the reader of stdout, `head` say, has seen enough: that is no error
        _to_nowhere(sys.stdout)
    except (
        OSError
    ) as error:  # stdout is full or closed; what is still to be flushed would fail again
        _to_nowhere(sys.stdout)
        return _failed(2, "", f"the answer cannot be written to stdout: {_explained(error)}")[0]
    return code


def _always_there(name: str) -> None:
    """A stream that was closed before the start swallows; one of any encoding takes every character."""
    stream = getattr(sys, name)
    if stream is None:
        stream = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
        setattr(sys, name, stream)
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def _to_nowhere(stream: TextIO) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _outcome(argv: list[str]) -> tuple[int, str]:
    """The exit code and what goes to stdout; what goes wrong is one line on stderr."""
    if not argv or argv[0] in ("-h", "--help"):
        return (0 if argv else 2), _usage()
    if argv[0] == "--version":
        from importlib.metadata import version

        return 0, version("isodiff")
    known = verbs()
    verb = argv[0] if argv[0] in known else ""
    call, as_json = None, False
    try:
        if argv[0].replace("_", "-") in _COMPLETION:
            from isodiff.cli.parsing import complete

            return complete(list(known), argv), ""
        if not verb:
            near = nearest(argv[0], known)
            raise InputError(f"no verb {argv[0]!r}{near}; verbs: {', '.join(known)}")
        from isodiff.allocator import keep_freed_memory
        from isodiff.cli.parsing import parse

        keep_freed_memory()
        call, as_json = parse(verb, argv[1:])
        answer = call()
    except InputError as error:
        if call is None and os.environ.get("RANK", "0") != "0":
            return 2, ""  # the first rank has the same command line, and says what is wrong with it
        return _failed(2, verb, error)
    except SaidElsewhere as error:
        return error.code, ""
    except WorkFailed as error:
        said = _json(error.value) if as_json and error.value else ""
        return _failed(1, verb, error)[0], said if as_json else error.text
    except OSError as error:
        if call is None:  # of the help, whose reader has left
            raise
        return _failed(2, verb, _explained(error))
    except (
        Exception
    ) as error:  # what libraries raise for a lack of memory or disk; all else is a bug
        if (known_failure := _resources(error)) is None:
            raise
        return _failed(2, verb, known_failure)
    except KeyboardInterrupt:
        goes_on = call is not None and getattr(call.func, "resumable", False)
        then = "the same command goes on from here" if goes_on else "nothing was written"
        print(file=sys.stderr)
        return _failed(130, verb, f"interrupted; {then}")
    return 0, _json(answer.value) if as_json else answer.text


def _failed(code: int, verb: str, why: object) -> tuple[int, str]:
    with contextlib.suppress(OSError):  # a full stderr has no room; the code says as much
        print(one_line(f"isodiff {verb}".strip() + f": {why}"), file=sys.stderr, flush=True)
    return code, ""


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), allow_nan=False)


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
        "Bad input: one line on stderr, exit code 2."
    )


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _explained(error: OSError) -> str:
    """An operating-system error as what to do about it."""
    where = f" {error.filename}" if error.filename else ""
    if error.errno in _FULL:
        return f"no space left on the disk while writing{where}; free some and run it again"
    return f"{error.strerror or error}{where}"


def _resources(error: Exception) -> str | None:
    """What the machine lacked, where that is what a library's error says; None where it is another error."""
    said = str(error)
    if isinstance(error, MemoryError) or re.search("not enough memory|out of memory", said, re.I):
        return "out of memory; give a smaller batch, length or shape, or a larger machine"
    if number := re.search(r"os error (\d+)", said):
        return _explained(OSError(int(number[1]), os.strerror(int(number[1]))))
    return None
