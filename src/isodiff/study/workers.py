"""Worker processes and the queue of jobs they share."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from isodiff.errors import InputError
from isodiff.serialization import from_json, to_json
from isodiff.study.jobs import A, Job


class JobFailed(Exception):
    """A job ended without an answer; the message says why."""


class _Worker:
    """One process of `isodiff.study.worker`, restarted if it dies."""

    def __init__(self, threads: int, log: Path) -> None:
        self.threads, self.log = threads, log
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> subprocess.Popen[str]:
        """The running process."""
        if self.process is None or self.process.poll() is not None:
            self.stop()
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "isodiff.study.worker", str(self.threads)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    start_new_session=True,
                )
        return self.process

    def ask(self, job: Job[A], progress: Callable[[float], None] = lambda done: None) -> A:
        """The answer to one job.

        Raises:
            InputError: the job's input cannot be used.
            JobFailed: anything else, the death of the process included.
        """
        process = self.start()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps({"do": type(job).__name__, "job": to_json(job)}) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                message = json.loads(line)
                if "progress" in message:
                    progress(message["progress"])
                elif "error" in message:
                    error = message["error"]
                    raise InputError(error) if message["input"] else JobFailed(error)
                else:
                    return from_json(job.answer, message["answer"], "worker")
        except BrokenPipeError:
            pass  # the process died; its exit code says how
        raise JobFailed(f"the worker process ended with code {process.wait()}; see {self.log}")

    def stop(self) -> None:
        """End the process, and close its pipes."""
        if self.process is not None:
            with contextlib.suppress(BrokenPipeError), self.process:
                self.process.terminate()
            self.process = None


class Workers:
    """`count` workers of `threads` threads each, logging into `folder`."""

    def __init__(self, count: int, threads: int, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.members = [_Worker(threads, folder / f"worker-{i}.log") for i in range(count)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for member in self.members:
            member.stop()

    def ask(self, job: Job[A]) -> A:
        """One job, on the first worker."""
        return self.members[0].ask(job)

    def share(
        self,
        jobs: Sequence[Job[A]],
        done: Callable[[int, A | Exception], None],
        progress: Callable[[int, float], None],
        ready: Callable[[int], bool] = lambda index: True,
    ) -> None:
        """Do every job, in order of the list, on whichever worker is free.

        `done(i, answer or exception)`, `progress(i, share)` and `ready(i)` are called under one lock. A job
        that is not ready waits while others are under way; with none of them left it is done all the same.
        """
        waiting, running, lock = list(range(len(jobs))), 0, threading.Condition()

        def taken() -> int | None:
            """The next job; None where no more are left."""
            nonlocal running
            while waiting:
                index = next(filter(ready, waiting), None if running else waiting[0])
                if index is not None:
                    waiting.remove(index)
                    running += 1
                    return index
                lock.wait(0.5)
            return None

        def report(index: int, share: float) -> None:
            with lock:
                progress(index, share)

        def work(member: _Worker) -> None:
            nonlocal running
            while True:
                with lock:
                    index = taken()
                if index is None:
                    return
                try:
                    answer = member.ask(jobs[index], partial(report, index))
                except (InputError, JobFailed) as error:
                    answer = error
                with lock:
                    running -= 1
                    lock.notify_all()
                    done(index, answer)

        threads = [threading.Thread(target=work, args=(m,), daemon=True) for m in self.members]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():  # join without a timeout would not see Ctrl-C
                thread.join(0.2)
