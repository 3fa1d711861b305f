"""What only PyTorch 2 has, on this backend: functional and coalesced collectives, DTensor, fully sharded
data parallelism. Checked against what the definitions say, and against the same model in one process."""
import copy
import os
import random
from datetime import timedelta

os.environ["CUDA_VISIBLE_DEVICES"] = ""  # where there is a GPU, PyTorch would choose it

import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as functional

import shoal_torch  # noqa: F401

dist.init_process_group("shoal", timeout=timedelta(seconds=60))
rank, size = dist.get_rank(), dist.get_world_size()
seed = [int(os.environ.get("SHOAL_TEST_SEED", random.SystemRandom().randrange(2**31)))]
dist.broadcast_object_list(seed, 0)


def numbers_of(which, *shape, dtype=torch.float32):
    """Every rank can tell what another has."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed[0] + which)).to(dtype)


def expect(actual, wanted, what, tolerance=1e-5):
    assert actual.shape == wanted.shape and torch.allclose(
        actual.float(), wanted.float(), rtol=tolerance, atol=tolerance
    ), f"seed {seed[0]}, rank {rank}, {what}: got {actual}, wanted {wanted}"


def test_functional():
    world = dist.group.WORLD
    mine = numbers_of(rank, 4 * size, 3)
    every = [numbers_of(other, 4 * size, 3) for other in range(size)]
    expect(functional.all_reduce(mine, "sum", world), sum(every), "all_reduce")
    expect(functional.all_reduce(mine, "avg", world), sum(every) / size, "average")
    expect(functional.all_gather_tensor(mine, 0, world), torch.cat(every), "all_gather_tensor")
    expect(functional.all_gather_tensor(mine, 1, world), torch.cat(every, 1), "all_gather_tensor along 1")
    expect(functional.reduce_scatter_tensor(mine, "sum", 0, world), sum(every).chunk(size)[rank], "reduce_scatter")
    expect(functional.all_to_all_single(mine, None, None, world),
           torch.cat([each.chunk(size)[rank] for each in every]), "all_to_all_single")
    expect(functional.broadcast(mine, size - 1, world), every[-1], "broadcast")


def test_coalesced():
    for dtype in (torch.float32, torch.bfloat16, torch.int32):
        shapes = [(3, 2), (5,), (1, 7)]
        mine = [(10 * numbers_of(rank + i, *shape)).to(dtype) for i, shape in enumerate(shapes)]
        wholes = [torch.full((size * shape[0], *shape[1:]), -9, dtype=dtype) for shape in shapes]
        with dist._coalescing_manager():
            for whole, part in zip(wholes, mine):
                dist.all_gather_into_tensor(whole, part)
        for i, (whole, shape) in enumerate(zip(wholes, shapes)):
            expect(whole, torch.cat([(10 * numbers_of(other + i, *shape)).to(dtype) for other in range(size)]),
                   f"coalesced all_gather {i} in {dtype}")
        parts = [torch.full(shape, -9, dtype=dtype) for shape in shapes]
        with dist._coalescing_manager():
            for whole, part in zip(wholes, parts):
                dist.reduce_scatter_tensor(part, whole)
        for i, part in enumerate(parts):
            expect(part, size * mine[i], f"coalesced reduce_scatter {i} in {dtype}",
                   0.05 if dtype == torch.bfloat16 else 1e-5)
    with dist._coalescing_manager():
        sums = [numbers_of(rank + i, 11) for i in range(3)]
        for each in sums:
            dist.all_reduce(each)
    for i, each in enumerate(sums):
        expect(each, sum(numbers_of(other + i, 11) for other in range(size)), f"coalesced all_reduce {i}")


def model():
    torch.manual_seed(seed[0])
    return torch.nn.Sequential(torch.nn.Linear(24, 48), torch.nn.GELU(), torch.nn.Linear(48, 24),
                               torch.nn.GELU(), torch.nn.Linear(24, 8 * size))


def train(net, inputs, optimizer, steps=4):
    losses = []
    for _ in range(steps):
        loss = net(inputs).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


def serial_losses():
    """One process on the batches of all ranks."""
    whole = torch.cat([numbers_of(other, 16, 24) for other in range(size)])
    net = model()
    return train(net, whole, torch.optim.AdamW(net.parameters(), lr=1e-2))


def mean_of_all(losses):
    dist.all_reduce(losses)
    return losses / size


def test_fully_sharded():
    from torch.distributed.fsdp import fully_shard
    net = model()
    for layer in net:
        if isinstance(layer, torch.nn.Linear):
            fully_shard(layer)
    fully_shard(net)
    losses = train(net, numbers_of(rank, 16, 24), torch.optim.AdamW(net.parameters(), lr=1e-2))
    expect(mean_of_all(losses), serial_losses(), "fully_shard", 1e-4)


def test_data_parallel():
    net = torch.nn.parallel.DistributedDataParallel(model())
    losses = train(net, numbers_of(rank, 16, 24), torch.optim.AdamW(net.parameters(), lr=1e-2))
    expect(mean_of_all(losses), serial_losses(), "DistributedDataParallel", 1e-4)


def test_tensor_parallel():
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
    mesh = init_device_mesh("cpu", (size,), mesh_dim_names=("tp",))
    x = numbers_of(0, 5, 24)
    net = torch.nn.Sequential(*list(model())[:3])
    wanted_net = copy.deepcopy(net)
    wanted = wanted_net(x)
    wanted.square().sum().backward()
    if 48 % size == 0:
        parallelize_module(net, mesh, {"0": ColwiseParallel(), "2": RowwiseParallel()})
        made = net(x)
        made.square().sum().backward()
        expect(made, wanted, "ColwiseParallel, RowwiseParallel", 1e-4)
        expect(net[0].weight.grad.full_tensor(), wanted_net[0].weight.grad, "its gradient", 1e-3)
    whole = numbers_of(1, 7, 6)
    divided = distribute_tensor(whole.clone(), mesh, [Shard(0)])
    expect(divided.redistribute(mesh, [Shard(1)]).full_tensor(), whole, "DTensor from rows to columns")


def test_checkpoint(tmp="/tmp"):
    import torch.distributed.checkpoint as checkpoint
    path = [f"{tmp}/shoal-torch2-{os.getpid()}"]
    dist.broadcast_object_list(path, 0)
    state = {"mine": numbers_of(rank, 9), "step": rank}
    checkpoint.save({f"part {rank}": state["mine"]}, checkpoint_id=path[0])
    read = {f"part {rank}": torch.full((9,), -1.0)}
    checkpoint.load(read, checkpoint_id=path[0])
    expect(read[f"part {rank}"], state["mine"], "distributed checkpoint", 0)
    dist.barrier()
    if rank == 0:
        import shutil
        shutil.rmtree(path[0])


for test in (test_functional, test_coalesced, test_data_parallel, test_fully_sharded, test_tensor_parallel,
             test_checkpoint):
    test()
    dist.barrier()
    if rank == 0:
        print(f"{test.__name__}: as it should be", flush=True)
dist.destroy_process_group()
