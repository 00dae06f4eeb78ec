"""Processes that train together: who they are, and what they tell each other.

Started by torchrun, or anything that sets RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT.
Gradients are summed after the backward pass, so a hook may call its model in any way it likes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["Ranks", "joined"]


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        rank: its number; 0 writes files.
        world: how many there are.
        local: its number on this machine (its GPU).
    """

    rank: int = 0
    world: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        return self.rank == 0

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all ranks, on all of them."""
        if self.world > 1:
            import torch.distributed as dist

            dist.all_reduce(values)
        return values

    def known(self, values: torch.Tensor) -> torch.Tensor:
        """Per element the value that a rank has; NaN where none has one."""
        import torch

        if self.world == 1:
            return values
        import torch.distributed as dist

        lowest = torch.where(values.isnan(), torch.full_like(values, -torch.inf), values)
        lowest = lowest.to(self._device())
        dist.all_reduce(lowest, op=dist.ReduceOp.MAX)
        lowest = lowest.cpu()
        return torch.where(lowest.isinf(), torch.full_like(lowest, torch.nan), lowest)

    def sum_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Gradients summed over the ranks. A parameter that has none on any rank keeps none."""
        if self.world == 1:
            return
        import torch
        import torch.distributed as dist

        device = parameters[0].device
        used = torch.tensor([p.grad is not None for p in parameters], device=device).int()
        dist.all_reduce(used, op=dist.ReduceOp.MAX)
        chosen = [p for p, u in zip(parameters, used.tolist(), strict=True) if u]
        for p in chosen:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        for kind in dict.fromkeys(p.dtype for p in chosen):
            grads = [p.grad for p in chosen if p.dtype == kind and p.grad is not None]
            flat = torch.cat([g.reshape(-1) for g in grads])
            dist.all_reduce(flat)
            start = 0
            for g in grads:
                g.copy_(flat[start : start + g.numel()].view_as(g))
                start += g.numel()

    def same(self, model: torch.nn.Module) -> None:
        """Give all ranks the first one's parameters and buffers."""
        if self.world > 1:
            import torch.distributed as dist

            for tensor in model.state_dict().values():
                dist.broadcast(tensor, 0)

    def gather(self, value: Any) -> list[Any]:
        """Everybody's value, in the order of the ranks, on all of them."""
        if self.world == 1:
            return [value]
        import torch.distributed as dist

        out: list[Any] = [None] * self.world
        dist.all_gather_object(out, value)
        return out

    def wait(self) -> None:
        """Until all are here."""
        if self.world > 1:
            import torch.distributed as dist

            dist.barrier()

    def _device(self) -> str:
        import torch.distributed as dist

        return f"cuda:{self.local}" if dist.get_backend() == "nccl" else "cpu"


@contextmanager
def joined(device: str | None) -> Iterator[tuple[Ranks, torch.device]]:
    """The ranks that the environment tells of, and this process's device: as asked, else its GPU,
    else the CPU. A process group that is there already is used, and stays."""
    import torch

    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", os.environ.get("RANK", "0")))
    wanted = device or (f"cuda:{local}" if torch.cuda.is_available() else "cpu")
    place = torch.device(wanted)
    if world == 1:
        yield Ranks(), place
        return
    import torch.distributed as dist

    if place.type == "cuda":
        torch.cuda.set_device(place)
    mine = not dist.is_initialized()
    if mine:
        dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), local), place
    finally:
        if mine:
            dist.destroy_process_group()
