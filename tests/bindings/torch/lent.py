"""A large tensor that is summed again is lent to the ranks of the node: at its address, with what is in it, until it
ends; and nothing else in the process notices."""
import gc
import os
import random
import sys

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
import shoal_torch  # noqa: F401

dist.init_process_group("shoal")
rank, size = dist.get_rank(), dist.get_world_size()
lends = size > 1 and os.environ.get("SHOAL_TORCH_LEND") != "off"
seed = [int.from_bytes(os.urandom(4), "little")]
dist.broadcast_object_list(seed, 0)
random.seed(seed[0])
large = (1 << 20) + 7  # elements of 4 bytes


def is_lent(tensor, at=0):
    address = tensor.data_ptr() + at * tensor.element_size()
    with open("/proc/self/maps") as maps:
        for line in maps:
            begin, end = (int(part, 16) for part in line.split()[0].split("-"))
            if begin <= address < end:
                return "memfd:shoal" in line
    raise AssertionError(f"no mapping holds {address:#x}")


def numbers(tensor, turn):
    """Small integers, of which any order of addition gives the same; and their sum over the ranks."""
    def of(which):
        generator = torch.Generator().manual_seed(seed[0] + 1000 * turn + which)
        return torch.randint(-1000, 1000, tensor.shape, generator=generator).to(tensor.dtype)
    tensor.copy_(of(rank))
    return sum((of(other) for other in range(size)), torch.zeros_like(tensor))


def summed(tensor, turn, group=None):
    wanted = numbers(tensor, turn)
    dist.all_reduce(tensor, group=group)
    assert torch.equal(tensor, wanted), f"rank {rank}, turn {turn}, seed {seed[0]}"


def test_whole_tensors():
    tensors = [torch.empty(large + i) for i in range(3)]
    for turn in range(5):
        for number, tensor in enumerate(tensors):
            summed(tensor, 10 * turn + number)
            assert is_lent(tensor) == is_lent(tensor, tensor.numel() - 1) == (lends and turn > 0)
    # On some ranks only, all of which still agree.
    if rank % 2:
        tensors[1] = tensors[1].clone()
    for turn in range(3):
        summed(tensors[1], 100 + turn)
    for kind in (torch.float64, torch.bfloat16, torch.int8):
        tensor = torch.empty(4 * large, dtype=kind)
        for turn in range(3):
            if kind is torch.float64:
                summed(tensor, 200 + turn)
            else:
                dist.all_reduce(tensor.fill_(1))
                assert (tensor == size).all()
        assert is_lent(tensor) == lends


def test_what_stays_private():
    whole = torch.empty(4 * large)
    small = torch.empty(1000)
    for turn in range(4):
        summed(whole[:large], turn)
        summed(whole[large:], turn)
        summed(small, turn)
        assert not is_lent(whole) and not is_lent(whole, large) and not is_lent(small)


def test_memory_that_ends():
    def resident():
        with open("/proc/self/status") as status:
            return sum(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024
    for turn in range(60):
        tensor = torch.empty(large + random.randrange(100000))
        for again in range(3):
            summed(tensor, turn + 100 * again)
        assert is_lent(tensor) == lends
        address = tensor.data_ptr()
        del tensor
        other = torch.full((large,), 3.0)
        if other.data_ptr() == address:
            assert not is_lent(other)
        assert (other == 3).all()
        if turn == 10:
            before = resident()
    assert resident() < before + 64, f"{resident()} MiB, {before} after ten turns"


def test_children():
    tensor = torch.empty(large)
    for turn in range(3):
        summed(tensor, turn)
    tensor.fill_(5)
    for _ in range(3):
        child = os.fork()
        if child == 0:
            good = bool((tensor == 5).all())
            tensor.fill_(6)
            again = torch.ones(large)
            good = good and bool((tensor == 6).all())
            del again
            gc.collect()
            os._exit(0 if good else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert (tensor == 5).all(), "a child's writes came here"
    summed(tensor, 7)
    # A child is made while the group's thread sums.
    for turn in range(10):
        wanted = numbers(tensor, turn)
        work = dist.all_reduce(tensor, async_op=True)
        child = os.fork()
        if child == 0:
            tensor.fill_(1)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        work.wait()
        assert torch.equal(tensor, wanted)


def test_training():
    """DistributedDataParallel's buckets are lent, and parameters come out as with private ones."""
    def train(as_view):
        torch.manual_seed(3)
        model = torch.nn.Sequential(*(torch.nn.Linear(1100, 1100) for _ in range(3)))
        model = DistributedDataParallel(model, gradient_as_bucket_view=as_view)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
        for step in range(6):
            x = torch.randn(4, 1100, generator=torch.Generator().manual_seed(10 * step + rank))
            optimizer.zero_grad(set_to_none=not as_view)
            model(x).square().mean().backward()
            optimizer.step()
        lent = [is_lent(p.grad) for p in model.parameters() if p.grad.numel() > 1 << 20]
        return [p.detach().clone() for p in model.parameters()], lent
    for as_view in (False, True):
        parameters, lent = train(as_view)
        for parameter in parameters:
            mean = parameter.clone()
            dist.all_reduce(mean, op=dist.ReduceOp.MAX)
            assert torch.equal(mean, parameter), "the ranks have trained apart"
        assert not as_view or all(lent) == lends, lent


for name, test in list(globals().items()):
    if name.startswith("test_"):
        test()
kept = torch.ones(large)  # ends with the interpreter, after the group
for _ in range(3):
    dist.all_reduce(kept.fill_(1))
dist.barrier()
dist.destroy_process_group()
assert (kept == size).all()
if rank == 0:
    print("all right")
sys.stdout.flush()
