"""Forward and backward passes of a network: in one process, or shared with others by one of torch's engines.

`Replicated`: all of the network on every rank (DistributedDataParallel, arXiv 2006.15704). `Sharded`: a part
of each weight, gradient and moment on every rank (fully_shard, the second writing of arXiv 2304.11277). Both
average gradients over ranks, so a loss times their number gives the sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from isodiff.network.transformer import Transformer

_Loss = Callable[[Transformer], Tensor]


class Engine:
    """The passes of a network that is all here."""

    def __init__(self, network: Transformer) -> None:
        self.network = network

    def backward(self, loss: _Loss, *, last: bool) -> float:
        """Add the gradient of a sum over this rank's rows, which is returned; `last` of a step's passes."""
        value = loss(self.network)
        value.backward()
        return value.item()

    def clip(self, limit: float) -> float:
        """Shorten the gradient of all ranks to the norm `limit`; returns the norm it had."""
        return float(nn.utils.clip_grad_norm_(self.network.parameters(), limit))

    def whole(self, tensor: Tensor) -> Tensor:
        """All of a tensor of network, optimizer or averages, for the first rank to write."""
        return tensor.contiguous()

    def put(self, tensor: Tensor | None, like: Tensor) -> Tensor:
        """What the first rank has read, as this rank keeps what is `like` it."""
        assert tensor is not None
        return tensor.to(like.device)

    @contextmanager
    def evaluated(self, weights: Mapping[str, Tensor] | None = None) -> Iterator[Transformer]:
        """The whole network, with these weights or its own."""
        kept = None
        if weights is not None:
            kept = {name: p.detach().clone() for name, p in self.network.named_parameters()}
            self.network.load_state_dict(weights)
        yield self.network
        if kept is not None:
            self.network.load_state_dict(kept)


class _Within(nn.Module):
    """A function of the network as a forward pass, so that its parameters are at hand all the while."""

    def __init__(self, network: Transformer) -> None:
        super().__init__()
        self.network = network

    def forward(self, loss: _Loss) -> Tensor:
        return loss(self.network)


class Replicated(Engine):
    """All of the network on every rank; gradients are averaged while they are made."""

    def __init__(self, network: Transformer, count: int) -> None:
        super().__init__(network)
        self.count = count
        self.module = nn.parallel.DistributedDataParallel(
            _Within(network), gradient_as_bucket_view=True
        )

    def backward(self, loss: _Loss, *, last: bool) -> float:
        """With the other ranks, on the last pass."""
        with nullcontext() if last else self.module.no_sync():
            value = self.module(loss)
            (value * self.count).backward()  # the mean over ranks is then the sum
        return value.item()

    def put(self, tensor: Tensor | None, like: Tensor) -> Tensor:
        """The same on every rank."""
        return _from_first(tensor, like)


class Sharded(Engine):
    """A part of each parameter on every rank; blocks are made whole when they compute."""

    def __init__(
        self, make: Callable[[], Transformer], device: torch.device, count: int, leads: bool
    ) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        super().__init__(make())
        self.make, self.device, self.count, self.leads = make, device, count, leads
        mesh = init_device_mesh(device.type, (count,))
        for block in self.network.blocks:
            fully_shard(block, mesh=mesh)
        self.module = _Within(self.network)
        fully_shard(self.module, mesh=mesh)

    def backward(self, loss: _Loss, *, last: bool) -> float:
        """With the other ranks, on every pass: no rank keeps all of a gradient."""
        value = self.module(loss)
        (value * self.count).backward()
        return value.item()

    def clip(self, limit: float) -> float:
        """By the norm of all parts."""
        return float(_full(nn.utils.clip_grad_norm_(self.network.parameters(), limit)))

    def whole(self, tensor: Tensor) -> Tensor:
        """On the CPU of the first rank; nothing on the others."""
        found = _full(tensor)
        return found.cpu().contiguous() if self.leads else found.new_empty(0)

    def put(self, tensor: Tensor | None, like: Tensor) -> Tensor:
        """This rank's part."""
        from torch.distributed.tensor import DTensor, distribute_tensor

        if not isinstance(like, DTensor):
            return _from_first(tensor, like)
        found = _here(tensor, like)
        return distribute_tensor(found, like.device_mesh, like.placements)

    @contextmanager
    def evaluated(self, weights: Mapping[str, Tensor] | None = None) -> Iterator[Transformer]:
        """A copy, all of it on every rank."""
        own = dict(self.network.named_parameters()) if weights is None else weights
        network = self.make().to(self.device)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.copy_(_full(own[name]))
        yield network


def _full(tensor: Tensor) -> Tensor:
    """All of a tensor of which each rank has a part."""
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _here(tensor: Tensor | None, like: Tensor) -> Tensor:
    """The tensor on the device, or room for it."""
    if tensor is None:
        return torch.empty(like.shape, dtype=like.dtype, device=like.device)
    return tensor.to(like.device, like.dtype).contiguous()


def _from_first(tensor: Tensor | None, like: Tensor) -> Tensor:
    """The first rank's tensor."""
    import torch.distributed as dist

    found = _here(tensor, like)
    dist.broadcast(found, 0)
    return found
