# The backend "shoal" beside Gloo, in one process a rank, in turns:
#
#   shoal run -n 2 -- /usr/bin/python3 bench/torch/torch_bench.py [all_reduce] [ddp] [shared] ...
#
# with build/release/python in PYTHONPATH. `shared`: what follows is on tensors that all ranks see. Times are medians of the slowest rank. The bound of an
# all-reduce on one node is memory: each rank reads and writes its tensor once.
import statistics
import sys
import time

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

import shoal_torch  # noqa: F401

torch.set_num_threads(1)
dist.init_process_group("shoal")
groups = {"shoal": dist.group.WORLD, "gloo": dist.new_group(backend="gloo")}
rank, size = dist.get_rank(), dist.get_world_size()


def slowest(seconds):
    value = torch.tensor([seconds], dtype=torch.float64)
    dist.all_reduce(value, op=dist.ReduceOp.MAX)
    return value.item()


def timed(call, times):
    dist.barrier()
    begin = time.perf_counter()
    for _ in range(times):
        call()
    return slowest((time.perf_counter() - begin) / times)


def say(*text):
    if rank == 0:
        print(*text, flush=True)


def all_reduce():
    say(f"{'bytes':>10} {'shoal us':>10} {'gloo us':>10} {'ratio':>7}")
    for exponent in range(3, 27):
        data = torch.ones(max(1, 2**exponent // 4))

        def call(group):
            return lambda: dist.all_reduce(data, op=dist.ReduceOp.MAX, group=group)

        once = {name: timed(call(group), 3) for name, group in groups.items()}
        measured = {name: [] for name in groups}
        for _ in range(7):
            for name, group in groups.items():
                times = max(1, min(300, int(0.06 / once[name])))
                measured[name].append(timed(call(group), times))
        shoal, gloo = (statistics.median(measured[name]) * 1e6 for name in ("shoal", "gloo"))
        say(f"{2**exponent:>10} {shoal:>10.1f} {gloo:>10.1f} {gloo / shoal:>7.1f}")


def ddp():
    """Six matrices of 2048 x 2048: 100 MB of gradients."""
    def make(group):
        torch.manual_seed(0)
        layers = [torch.nn.Linear(2048, 2048, bias=False) for _ in range(6)]
        model = DistributedDataParallel(torch.nn.Sequential(*layers), process_group=group)
        return model, torch.optim.SGD(model.parameters(), lr=1e-3)

    def step(model, optimizer, x):
        loss = model(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    torch.manual_seed(1 + rank)
    trained = {name: make(group) for name, group in groups.items()}
    trained["none"] = make(groups["shoal"])
    losses = {name: [] for name in groups}
    for batch in (4, 16, 64):
        x = torch.randn(batch, 2048)
        seconds = {name: [] for name in (*groups, "none")}
        for turn in range(12):
            for name in groups:
                took = timed(lambda: losses[name].append(step(*trained[name], x)), 1)
                if turn >= 2:
                    seconds[name].append(took)
            model, optimizer = trained["none"]
            with model.no_sync():
                seconds["none"].append(timed(lambda: step(model, optimizer, x), 1))
        shoal, gloo, none = (1 / statistics.median(seconds[name]) for name in ("shoal", "gloo", "none"))
        say(f"DDP, 100 MB of gradients, batch {batch}: {shoal:.2f} steps/s with shoal, {gloo:.2f} with gloo, "
            f"ratio {shoal / gloo:.2f}; {none:.2f} without communication")
    difference = max(abs(a - b) / abs(b) for a, b in zip(losses["shoal"], losses["gloo"]))
    say(f"losses differ by at most {difference:.1e} of their value")


for name in sys.argv[1:] or ["all_reduce", "ddp"]:
    {"all_reduce": all_reduce, "ddp": ddp, "shared": shoal_torch.share_tensors}[name]()
dist.destroy_process_group()
