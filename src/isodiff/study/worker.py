"""The process that computes: jobs as JSON lines on standard input, answers on standard output.

It is the only part of a study that imports torch, so planning and reporting stay light, and a crash takes
one run with it, not the study. Both ends of the channel are moved away from descriptors 0 and 1 before
anything else is imported: what a library prints goes to the log, and a thread that listens from the first
moment on ends the process as soon as its parent is gone.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from queue import SimpleQueue
from typing import IO, Any


def _private(descriptor: int, mode: str, instead: int) -> IO[str]:
    """What stood at a descriptor, for this module alone; `instead` takes its place."""
    file = os.fdopen(os.dup(descriptor), mode, encoding="utf-8")
    os.dup2(instead, descriptor)
    return file


def _main(threads: int, device: str) -> None:
    questions = _private(0, "r", os.open(os.devnull, os.O_RDONLY))
    answers = _private(1, "w", 2)
    lines: SimpleQueue[str] = SimpleQueue()

    def listen() -> None:
        for line in questions:
            lines.put(line)
        os._exit(1)  # whatever is under way: a study may be killed at any moment

    def say(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    threading.Thread(target=listen, daemon=True).start()
    from isodiff.errors import InputError
    from isodiff.study.work import Work

    work = Work(threads, device, lambda share: say({"progress": share}))
    while True:
        message = json.loads(lines.get())
        try:
            say({"answer": work.do(message["do"], message["job"])})
        except InputError as error:
            say({"error": str(error), "input": True})
        except Exception as error:  # a job that fails must not end the worker: the study goes on
            traceback.print_exc()
            say({"error": f"{type(error).__name__}: {error}", "input": False})


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2])
