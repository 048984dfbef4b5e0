"""Processes that stay, and become the ranks of one run after another: starting them is what takes long."""

from __future__ import annotations

import contextlib
import gc
import io
import multiprocessing
import os
import socket
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

import pytest


class Said(NamedTuple):
    """What a command line came to on a rank."""

    code: int
    out: str
    err: str


class Group:
    """Processes, of which some or all become ranks; one that has ended is started again."""

    def __init__(self) -> None:
        self.members: list[tuple[BaseProcess, Connection]] = []

    def run(
        self, count: int, function: Callable[..., Any], *args: Any, **each: Sequence[Any]
    ) -> list[Any]:
        """What `function` returns on each of `count` ranks, None of one that was killed.

        Args:
            each: one value for each rank.
        """
        self._fill(count)
        port, pipes = _free_port(), [pipe for _, pipe in self.members[:count]]
        for rank, pipe in enumerate(pipes):
            place = {
                "RANK": rank,
                "LOCAL_RANK": rank,
                "WORLD_SIZE": count,
                "LOCAL_WORLD_SIZE": count,
            }
            place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            named = {name: values[rank] for name, values in each.items()}
            pipe.send(({name: str(value) for name, value in place.items()}, function, args, named))
        answers = [_answer(pipe) for pipe in pipes]
        for worked, answer in answers:
            if not worked:
                pytest.fail(answer)
        return [answer for _, answer in answers]

    def _fill(self, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.members = [one for one in self.members if one[0].is_alive()]
        while len(self.members) < count:
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            self.members.append((process, ours))

    def close(self) -> None:
        """End all of them."""
        for process, pipe in self.members:
            pipe.close()
            process.join(10)


def _answer(pipe: Connection) -> tuple[bool, Any]:
    try:
        return pipe.recv()
    except EOFError:
        return True, None


def command(*words: str, own: Sequence[str] = ()) -> Said:
    """`isodiff` with these words, and some of its own, on this rank."""
    from isodiff.cli import main

    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        code = main([*words, *own])
    return Said(code, out.getvalue(), err.getvalue())


def _serve(pipe: Connection) -> None:
    """Do what is asked until nobody asks any more."""
    import traceback

    import torch

    torch.set_num_threads(1)
    with contextlib.suppress(EOFError):
        while True:
            place, function, args, named = pipe.recv()
            os.environ.update(place)
            try:
                answer = True, function(*args, **named)
            except BaseException:
                answer = False, traceback.format_exc()
            gc.collect()  # what still holds connections to other ranks, which the end of a process closes
            pipe.send(answer)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
