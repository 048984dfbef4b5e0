"""Worker processes and the queue of jobs they share."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self

from isodiff.errors import InputError, WorkFailed
from isodiff.provenance import num_cores
from isodiff.serialization import from_json, to_json
from isodiff.study.jobs import A, Job, ListDevices

_POLL_SECONDS = 0.5  # between two looks at jobs that were not ready


class JobFailed(WorkFailed):
    """A job ended without an answer; the message says why."""


class WorkerKilled(JobFailed):
    """The job's process was killed from outside; the job may do better a second time."""


class Worker:
    """One process of `isodiff.study.worker`, restarted if it dies."""

    def __init__(self, threads: int, device: str, log: Path) -> None:
        self.threads, self.device, self.log = threads, device, log
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> subprocess.Popen[str]:
        """The running process."""
        if self.process is None or self.process.poll() is not None:
            self.stop()
            module = [sys.executable, "-m", "isodiff.study.worker"]
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    [*module, str(self.threads), self.device],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    start_new_session=True,
                    # Modules are never taken from the folder that the user happens to stand in.
                    env={**os.environ, "PYTHONSAFEPATH": "1"},
                )
        return self.process

    def ask(self, job: Job[A], progress: Callable[[float], None] = lambda done: None) -> A:
        """The answer to one job.

        Raises:
            InputError: the job's input cannot be used.
            JobFailed: anything else, the death of the process included.
        """
        process = self.start()
        message = self._exchanged(process, job, progress)
        if message is None:
            raise self._death(process.wait())
        if "error" in message:
            raise (InputError if message["input"] else JobFailed)(message["error"])
        return from_json(job.answer, message["answer"], "worker")

    @staticmethod
    def _exchanged(
        process: subprocess.Popen[str], job: Job[Any], progress: Callable[[float], None]
    ) -> dict[str, Any] | None:
        """The last message about a job; None where the process ended before."""
        assert process.stdin is not None and process.stdout is not None
        # A pipe breaks, or a line is torn, where the process dies: its exit code says how.
        with contextlib.suppress(OSError, ValueError):
            process.stdin.write(json.dumps({"do": type(job).__name__, "job": to_json(job)}) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                message = json.loads(line)
                if "progress" not in message:
                    return message
                progress(message["progress"])
        return None

    def _death(self, code: int) -> JobFailed:
        if code >= 0:
            return JobFailed(f"the worker process ended with code {code}; see {self.log}")
        memory = ", as the system does where memory runs out" if -code == signal.SIGKILL else ""
        return WorkerKilled(
            f"the worker process was killed ({signal.Signals(-code).name}){memory}; "
            "fewer --workers or a smaller micro_batch_size need less"
        )

    def stop(self) -> None:
        """End the process, and close its pipes."""
        if self.process is not None:
            with contextlib.suppress(BrokenPipeError), self.process:
                self.process.terminate()
            self.process = None


class Workers:
    """A worker of `threads` threads for each of `devices`, logging into `folder`."""

    def __init__(self, devices: Sequence[str], threads: int, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.members = [
            Worker(threads, device, folder / f"worker-{i}.log") for i, device in enumerate(devices)
        ]

    @classmethod
    def on(cls, device: str, folder: Path, *, count: int | None = None, threads: int = 1) -> Self:
        """As many as the cores allow, or one for each GPU that `device` ("cuda") stands for; or `count`.

        Raises:
            InputError: no such device here.
        """
        if device == "cpu":
            return cls(["cpu"] * (count or max(1, num_cores() // threads)), threads, folder)
        with cls(["cpu"], threads, folder) as one:
            found = one.ask(ListDevices(device=device))
        return cls(list(islice(cycle(found), count or len(found))), threads, folder)

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
        answers: list[A | Exception] = []
        self.share([job], lambda index, answer: answers.append(answer))
        if isinstance(answers[0], Exception):
            raise answers[0]
        return answers[0]

    def share(
        self,
        jobs: Sequence[Job[A]],
        done: Callable[[int, A | Exception], None],
        progress: Callable[[int, float], None] = lambda index, share: None,
        ready: Callable[[int], bool] = lambda index: True,
    ) -> None:
        """Do every job, in order of the list, on whichever worker is free.

        `done(i, answer or exception)`, `progress(i, share)` and `ready(i)` are called in this thread. A job
        that is not ready waits while others are under way; with none of them left it is done all the same.
        One whose worker was killed is done once more, after the others.
        """
        waiting, idle = list(range(len(jobs))), list(self.members)
        killed: set[int] = set()
        events: SimpleQueue[Callable[[], None]] = SimpleQueue()

        def ended(member: Worker, index: int, answer: A | Exception) -> None:
            idle.insert(0, member)
            if isinstance(answer, WorkerKilled) and index not in killed:
                print(f"{jobs[index].what}: {answer}; it is tried once more", file=sys.stderr)
                killed.add(index)
                waiting.append(index)
            else:
                done(index, answer)

        def work(member: Worker, index: int) -> None:
            def report(share: float) -> None:
                events.put(partial(progress, index, share))

            try:
                answer = member.ask(jobs[index], report)
            except Exception as error:  # for `done`; here it would end the thread unseen
                answer = error
            events.put(partial(ended, member, index, answer))

        while waiting or len(idle) < len(self.members):
            while waiting and idle:
                at_least = waiting[0] if len(idle) == len(self.members) else None
                index = next(filter(ready, waiting), at_least)
                if index is None:
                    break
                waiting.remove(index)
                threading.Thread(target=work, args=(idle.pop(0), index), daemon=True).start()
            with contextlib.suppress(Empty):
                events.get(timeout=_POLL_SECONDS)()
