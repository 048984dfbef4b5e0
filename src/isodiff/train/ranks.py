"""One run on several processes, its ranks, which torchrun starts.

Tokens, times and noise are functions of a row's place in the global batch (rng.py), so ranks divide its rows,
and losses and gradients are sums over ranks of what one process sums over rows: any number of ranks trains
the same network, to rounding (engine.py).

The run's folder is the first rank's: it alone reads, writes and locks there, and tells the others what it
found. Of a failure one rank speaks: the first to say so in the store that all share.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch

from isodiff.errors import InputError, SaidElsewhere, WorkFailed, reason
from isodiff.network.transformer import Transformer
from isodiff.runs.build import make_family
from isodiff.runs.spec import RunSpec
from isodiff.runs.validation import one_by_one
from isodiff.train.engine import Engine, Replicated, Sharded

Parallel = Literal["ddp", "fsdp"]
_T = TypeVar("_T")
_LOST = re.compile("gloo|nccl|connection|timed out", re.I)
"""What errors of collectives say when a rank has ended or hangs."""


class Ranks:
    """This process alone: it is the first rank, and all rows are its own.

    Attributes:
        device: of this rank.
        number, count: which rank it is, of how many.
        here: how many of them are on this machine.
        divides: whether each has a part of the weights only.
    """

    number, count, here, divides = 0, 1, 1, False

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    @property
    def leads(self) -> bool:
        """Whether this is the first rank."""
        return self.number == 0

    def rows(self, total: int) -> range:
        """The rows of a batch of `total` that are this rank's."""
        each = total // self.count
        return range(self.number * each, (self.number + 1) * each)

    def check(self, spec: RunSpec) -> None:
        """That these ranks can train the spec, and all were given the same one.

        Raises:
            InputError: they cannot, or were not.
        """

    def first(self, work: Callable[[], _T]) -> _T:
        """What `work` gives on the first rank, which alone does it; where it fails, all do."""
        return work()

    def total(self, value: float) -> float:
        """The sum over ranks."""
        return value

    def over(self, function: Callable[[range], Any], parts: Sequence[range]) -> list[Any]:
        """The values of a function of some parts, each worked out by one rank."""
        return one_by_one(function, parts)

    def engine(self, make: Callable[[], Transformer], device: torch.device) -> Engine:
        """That of the network that `make` makes, on every rank the same."""
        return Engine(make().to(device))


ALONE = Ranks()


class _Several(Ranks):
    """One of several processes that have met."""

    def __init__(self, number: int, count: int, parallel: Parallel, device: str) -> None:
        super().__init__(device)
        self.number, self.count, self.divides = number, count, parallel == "fsdp"
        self.here = int(os.environ.get("LOCAL_WORLD_SIZE", count))

    def check(self, spec: RunSpec) -> None:
        own = {"spec": spec.id, "code": _code(), "torch": torch.__version__}
        if (fault := self._disagreement(own) or self._misfit(spec)) is not None:
            raise InputError(fault) if self.leads else SaidElsewhere(fault, 2)

    def _disagreement(self, own: dict[str, str]) -> str | None:
        import torch.distributed as dist

        told: list[Any] = [None] * self.count
        dist.all_gather_object(told, own)
        for number, other in enumerate(told):
            for what, value in told[0].items():
                if other[what] != value:
                    return (
                        f"rank {number} has another {what} ({other[what]}) than rank 0 ({value}); give all "
                        "ranks the same command and the same installation"
                    )
        return None

    def _misfit(self, spec: RunSpec) -> str | None:
        recipe, family = spec.recipe, make_family(spec.family, spec.corpus.vocab_size)
        share, period = recipe.batch_size // self.count, family.row_period
        passed = min(recipe.micro_batch_size or share, share)
        if recipe.batch_size % self.count:
            return (
                f"recipe: batch_size {recipe.batch_size} cannot be divided among {self.count} ranks; give a "
                "multiple, or start another number of ranks"
            )
        if share % period or passed % period:
            return (
                f"{family.name} treats one of {period} sequences differently, so a rank needs a multiple of "
                f"{period} at a time, not {passed} of {share}; change batch_size or micro_batch_size, or "
                "start another number of ranks"
            )
        if self.divides and recipe.optimizer == "muon":
            return (
                "recipe: muon steps whole matrices, which fsdp divides; give --parallel ddp, or adamw as "
                "the optimizer"
            )
        return None

    def first(self, work: Callable[[], _T]) -> _T:
        if not self.leads:
            value, failure = self._told(None)
            if failure is not None:
                raise SaidElsewhere(*failure)
            return value
        try:
            value = work()
        except Exception as error:
            self._told((None, (reason(error), _exit_code(error))))
            raise
        self._told((value, None))
        return value

    def _told(self, value: Any) -> Any:
        import torch.distributed as dist

        told = [value]
        dist.broadcast_object_list(told, src=0)
        return told[0]

    def total(self, value: float) -> float:
        import torch.distributed as dist

        found = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(found)
        return found.item()

    def over(self, function: Callable[[range], Any], parts: Sequence[range]) -> list[Any]:
        import torch.distributed as dist

        own = [function(part) for part in parts[self.number :: self.count]]
        found: list[Any] = [None] * self.count
        dist.all_gather_object(found, own)
        return [found[i % self.count][i // self.count] for i in range(len(parts))]

    def engine(self, make: Callable[[], Transformer], device: torch.device) -> Engine:
        if self.divides:
            return Sharded(make, device, self.count, self.leads)
        return Replicated(make().to(device), self.count)


@contextmanager
def joined(
    parallel: Parallel = "ddp", device: str = "cpu", timeout: float = 600.0
) -> Iterator[Ranks]:
    """The ranks that torchrun started, of which this process is one; this process alone where it did not.

    Args:
        device: cpu, or cuda for one GPU a rank.
        timeout: seconds that ranks wait for each other.

    Raises:
        InputError: the ranks do not meet, or one cannot do its part; one rank says so.
        WorkFailed: one has ended or hangs.
        SaidElsewhere: another rank says why all end.
    """
    if not {"RANK", "WORLD_SIZE"} <= os.environ.keys():
        if parallel == "fsdp":
            raise InputError(
                "fsdp divides a run among ranks, and this is one process; start it with "
                "torchrun --nproc-per-node N -m isodiff.cli train ..."
            )
        yield Ranks(device)
        return
    import torch.distributed as dist

    ranks, store = _met(parallel, device, timeout)
    try:
        if ":" in device:
            kind = device.partition(":")[0]
            raise InputError(
                f"each rank has a device of its own; give --device {kind}, not {device}"
            )
        yield ranks
    except SaidElsewhere:
        raise
    except BaseException as error:
        if not _speaks(store, error, ranks):
            raise SaidElsewhere(reason(error), _exit_code(error)) from error
        if isinstance(error, RuntimeError) and _LOST.search(str(error)):
            raise WorkFailed(
                f"rank {ranks.number} of {ranks.count} lost another one ({reason(error)}); the same command "
                "goes on from the last checkpoint"
            ) from error
        if isinstance(error, InputError) and not ranks.leads:
            raise InputError(f"rank {ranks.number} of {ranks.count}: {error}") from None
        raise
    finally:
        dist.destroy_process_group()


def _met(parallel: Parallel, device: str, timeout: float) -> tuple[Ranks, Any]:
    """This process as a rank, and the store that all share."""
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    kind, backend = device.partition(":")[0], "gloo"
    if kind == device != "cpu":
        device = f"{kind}:{os.environ.get('LOCAL_RANK', '0')}"
        backend = f"cpu:gloo,{kind}:{dist.get_default_backend_for_device(kind)}"
        torch.accelerator.set_device_index(int(device.partition(":")[2]))
    wait = timedelta(seconds=timeout)
    try:
        store, number, count = next(iter(rendezvous("env://", timeout=wait)))
        dist.init_process_group(backend, store=store, rank=number, world_size=count, timeout=wait)
    except (RuntimeError, ValueError) as error:
        variables = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
        given = " ".join(f"{name}={os.environ.get(name, '')}" for name in variables)
        raise InputError(
            f"ranks did not meet within {timeout:g} s ({given}; {reason(error)}); start all of them with "
            "torchrun, or give a longer --rank-timeout"
        ) from None
    return _Several(number, count, parallel, device), store


def _speaks(store: Any, error: BaseException, ranks: Ranks) -> bool:
    """Whether this rank is the one that says why all end: the first to fail."""
    try:
        if isinstance(error, InputError | WorkFailed) and not ranks.leads:
            with suppress(RuntimeError):  # mostly all fail alike: the first rank is given a second
                store.wait(["failed"], timedelta(seconds=1))
        return store.add("failed", 1) == 1
    except RuntimeError:  # the store has ended with the first rank, which kept it
        return ranks.number == 1


def _exit_code(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return 130
    return 2 if isinstance(error, InputError | OSError) else 1


def _code() -> str:
    """Hash of the library's source."""
    digest, root = hashlib.sha256(), Path(__file__).parents[1]
    for file in sorted(root.rglob("*.py")):
        digest.update(file.relative_to(root).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()[:12]
