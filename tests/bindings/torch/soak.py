"""Memory is flat over 100,000 collectives, and over 1,000 groups that are made and destroyed."""
import resource

import torch
import torch.distributed as dist

import shoal_torch  # noqa: F401

dist.init_process_group("shoal")
size = dist.get_world_size()


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def grows(what, times, call):
    """Bytes by which `times` calls grow the process, after a tenth as many to warm up."""
    for _ in range(times // 10):
        call()
    before = resident()
    for _ in range(times):
        call()
    grown = resident() - before
    print(f"{what}: {grown / 1024:.0f} KiB over {times}", flush=True)
    return grown


x = torch.ones(16)
big = torch.ones(100000)
out = [torch.empty(16) for _ in range(size)]


def collectives():
    dist.all_reduce(x, op=dist.ReduceOp.MAX)
    dist.all_gather(out, x)
    dist.all_reduce(big, op=dist.ReduceOp.MAX, async_op=True).get_future().wait()
    dist.broadcast(x, 0)


def group():
    made = dist.new_group()
    dist.all_reduce(x, op=dist.ReduceOp.MAX, group=made)
    dist.destroy_process_group(made)


assert grows("collectives", 25000, collectives) < 4 << 20
# A group leaves some hundred bytes in MPI's own tables.
assert grows("groups", 1000, group) < 8 << 20
dist.destroy_process_group()
