"""Every call of the backend gives what Gloo gives, or where Gloo has none what its definition says."""
import itertools
import os
import random
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import ReduceOp

import shoal_torch  # noqa: F401

dist.init_process_group("shoal", timeout=timedelta(seconds=20))
rank, size = dist.get_rank(), dist.get_world_size()
shoal = dist.group.WORLD
gloo = dist.new_group(backend="gloo")

seed = [int(os.environ.get("SHOAL_TEST_SEED", random.SystemRandom().randrange(2**31)))]
dist.broadcast_object_list(seed, 0)
common = random.Random(seed[0])  # the same on all ranks
torch.manual_seed(seed[0] + rank)

FLOATS = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
INTEGERS = [torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64]
SHAPES = [(0,), (), (1,), (5,), (3, 7), (1000,), (65537,)]


def fresh(shape, dtype):
    if dtype.is_floating_point:
        return torch.randn(shape).to(dtype)
    if dtype == torch.bool:
        return torch.randint(0, 2, shape).to(dtype)
    if dtype in (torch.uint8, torch.int16):  # of which Shoal has no arithmetic of its own: all there are
        limits = torch.iinfo(dtype)
        return torch.randint(limits.min, limits.max + 1, shape).to(dtype)
    return torch.randint(0, 7, shape).to(dtype)


def expect(actual, wanted, what):
    close = torch.allclose if actual.dtype.is_floating_point else torch.equal
    tolerance = {torch.bfloat16: 0.1, torch.float16: 0.02, torch.float32: 1e-5}.get(actual.dtype, 1e-12)
    good = actual.shape == wanted.shape and actual.dtype == wanted.dtype and (
        close(actual, wanted, rtol=tolerance, atol=tolerance) if close is torch.allclose
        else close(actual, wanted))
    assert good, f"seed {seed[0]}, rank {rank}, {what}: got {actual}, wanted {wanted}"


def all_of(tensor):
    """The tensors of all ranks, without the backend under test."""
    parts = [None] * size
    dist.all_gather_object(parts, tensor, group=gloo)
    return parts


def combined(tensors, op):
    if tensors[0].dtype == torch.bool:  # a sum is an or, a product an and
        op = {ReduceOp.SUM: ReduceOp.MAX, ReduceOp.PRODUCT: ReduceOp.MIN}.get(op.op if hasattr(op, "op") else op, op)
    wide = torch.float64 if tensors[0].dtype.is_floating_point else torch.int64
    total = tensors[0].to(wide)
    for other in tensors[1:]:
        other = other.to(wide)
        total = {ReduceOp.SUM: lambda: total + other, ReduceOp.AVG: lambda: total + other,
                 ReduceOp.PRODUCT: lambda: total * other, ReduceOp.MIN: lambda: torch.minimum(total, other),
                 ReduceOp.MAX: lambda: torch.maximum(total, other), ReduceOp.BAND: lambda: total & other,
                 ReduceOp.BOR: lambda: total | other, ReduceOp.BXOR: lambda: total ^ other}[op.op if hasattr(op, "op") else op]()
    if op == ReduceOp.AVG:
        total = total / size if total.is_floating_point() else torch.div(total, size, rounding_mode="trunc")
    return total.to(tensors[0].dtype)


def ops_for(dtype):
    bits = [] if dtype.is_floating_point else [ReduceOp.BAND, ReduceOp.BOR, ReduceOp.BXOR]
    if dtype == torch.bool:
        return [ReduceOp.SUM, ReduceOp.PRODUCT, ReduceOp.MIN, ReduceOp.MAX] + bits
    return [ReduceOp.SUM, ReduceOp.AVG, ReduceOp.PRODUCT, ReduceOp.MIN, ReduceOp.MAX] + bits


def test_reductions():
    cases = list(itertools.product(FLOATS + INTEGERS + [torch.bool], SHAPES + [(3 << 18,)]))
    for dtype, shape in cases:
        op = common.choice(ops_for(dtype))
        check_reductions(dtype, shape, op)
    for dtype in FLOATS + INTEGERS + [torch.bool]:
        for op in ops_for(dtype):
            check_reductions(dtype, (19,), op)


def check_reductions(dtype, shape, op):
    what = f"{op} {dtype} {shape}"
    mine = fresh(shape, dtype)
    wanted = combined(all_of(mine), op)
    x = mine.clone()
    dist.all_reduce(x, op=op)
    expect(x, wanted, "all_reduce " + what)
    root = common.randrange(size)
    x = mine.clone()
    dist.reduce(x, root, op=op)
    expect(x, wanted if rank == root else mine, "reduce " + what)
    inputs = [fresh(shape, dtype) for _ in range(size)]
    wanted = combined([theirs[rank] for theirs in all_of(inputs)], op)
    out = torch.empty(shape, dtype=dtype)
    dist.reduce_scatter(out, [t.clone() for t in inputs], op=op)
    expect(out, wanted, "reduce_scatter " + what)
    out = torch.empty(shape, dtype=dtype)
    dist.reduce_scatter_tensor(out, torch.cat([t.reshape(-1) for t in inputs]), op=op)
    expect(out, wanted, "reduce_scatter_tensor " + what)


def test_premultiplied_sums():
    """NCCL's operation: each rank's tensor times its factor, then the sum."""
    for dtype in FLOATS:
        for factor in (0.5, torch.tensor(0.5), torch.tensor([0.5], dtype=dtype)):
            listed = torch.is_tensor(factor) and torch.__version__.startswith("1.")
            op = dist._make_nccl_premul_sum([factor] if listed else factor)
            x = fresh((5, 3), dtype)
            wanted = combined([tensor.double() / 2 for tensor in all_of(x)], ReduceOp.SUM).to(dtype)
            y = x.clone()
            dist.all_reduce(y, op=op)
            expect(y, wanted, f"all_reduce, PREMUL_SUM by {factor}")
            whole = x.t().clone() if rank else x.clone().t()  # one with holes
            dist.reduce(whole, 0, op=op)
            expect(whole, wanted.t() if rank == 0 else x.t(), f"reduce, PREMUL_SUM by {factor}")
            parts = [x.clone() for _ in range(size)]
            out = torch.empty_like(x)
            dist.reduce_scatter(out, parts, op=op)
            expect(out, wanted, f"reduce_scatter, PREMUL_SUM by {factor}")
            assert all(torch.equal(part, x) for part in parts), "an input has changed"
            dist.reduce_scatter_tensor(out, torch.cat(parts), op=op)
            expect(out, wanted, f"reduce_scatter_tensor, PREMUL_SUM by {factor}")


def test_as_gloo():
    """What moves data gives the same as Gloo, also on tensors with holes and in another order."""
    def broadcast(group, x, root):
        dist.broadcast(x, root, group=group)
        return [x]

    def all_gather(group, x, root):
        out = [torch.empty_like(x) for _ in range(size)]
        dist.all_gather(out, x, group=group)
        return out

    def chunked_all_gather(group, x, root):
        out = list(torch.empty((size,) + tuple(x.shape), dtype=x.dtype).unbind(0))
        dist.all_gather(out, x, group=group)
        return out

    def gather(group, x, root):
        out = [torch.empty_like(x) for _ in range(size)] if rank == root else None
        dist.gather(x, out, dst=root, group=group)
        return out or []

    def scatter(group, x, root):
        out = torch.empty_like(x)
        dist.scatter(out, [x + i for i in range(size)] if rank == root else None, src=root, group=group)
        return [out]

    def sums(group, x, root):
        xs = [x.clone(), x.clone() + 1]
        dist.all_reduce_coalesced(xs, group=group)
        return xs

    for call, dtype, shape in itertools.product(
            [broadcast, all_gather, chunked_all_gather, gather, scatter, sums],
            [torch.float32, torch.int64, torch.uint8], [(0,), (1,), (6, 4), (300, 300)]):
        root = common.randrange(size)
        holes = common.random() < 0.5 and len(shape) == 2
        mine = fresh(shape, dtype)
        if holes:
            def make():
                return torch.zeros(shape[1] * 2, shape[0], dtype=dtype)[::2].t().copy_(mine)
        else:
            make = mine.clone
        # Gloo divides by the length: nothing is what it can only crash on.
        reference = call(gloo, mine.clone(), root) if mine.numel() else itertools.repeat(mine)
        for ours, theirs in zip(call(shoal, make(), root), reference):
            expect(ours, theirs, f"{call.__name__} {dtype} {shape} holes {holes} root {root}")


def test_sparse_sums():
    """As Gloo: sums of tensors of which each rank has other elements, in any number, none among them."""
    if not torch.__version__.startswith("1."):
        return  # later ones do not hand them to a backend on the CPU
    for dtype, dense_shape in itertools.product([torch.float32, torch.float64, torch.int64], [(), (3,), (2, 5)]):
        shape = (common.randrange(1, 40), common.randrange(1, 40)) + dense_shape
        here = torch.randint(0, 30, ()) if common.random() < 0.8 or rank == 0 else 0
        where = torch.stack([torch.randint(0, length, (int(here),)) for length in shape[:2]])
        mine = torch.sparse_coo_tensor(where, fresh((int(here),) + dense_shape, dtype), shape)
        wanted = sum(part.to_dense().to(torch.float64) for part in all_of(mine)).to(dtype)
        work = dist.all_reduce(mine, async_op=True)
        work.wait()
        assert mine.is_sparse and mine.is_coalesced()
        expect(mine.to_dense(), wanted, f"sparse {dtype} {shape}")
        expect(work.result()[0].to_dense(), wanted, f"result, sparse {dtype} {shape}")


def test_other_types_move():
    for dtype in [torch.bool, torch.int16, torch.complex64]:
        x = torch.tensor([1, 0, 1]).to(dtype) if rank == 0 else torch.zeros(3, dtype=dtype)
        dist.broadcast(x, 0)
        expect(x, torch.tensor([1, 0, 1]).to(dtype), f"broadcast {dtype}")


def test_all_gather_into_one():
    x = fresh((4, 3), torch.float32)
    out = torch.empty(4 * size, 3)
    dist.all_gather_into_tensor(out, x)
    expect(out, torch.cat(all_of(x)), "all_gather_into_tensor")
    lists = [[torch.empty(4, 3), torch.empty(2)] for _ in range(size)]
    y = fresh((2,), torch.float32)
    dist.all_gather_coalesced(lists, [x, y])
    for got, a, b in zip(lists, all_of(x), all_of(y)):
        expect(got[0], a, "all_gather_coalesced")
        expect(got[1], b, "all_gather_coalesced")


def test_all_to_all():
    # What rank i sends to rank j has i + 2 j rows.
    parts = [fresh((rank + 2 * j, 3), torch.float64) for j in range(size)]
    wanted = [theirs[rank] for theirs in all_of(parts)]
    out = torch.empty(sum(len(w) for w in wanted), 3, dtype=torch.float64)
    dist.all_to_all_single(out, torch.cat(parts), [len(w) for w in wanted], [len(p) for p in parts])
    expect(out, torch.cat(wanted), "all_to_all_single")
    outs = [torch.empty_like(w) for w in wanted]
    dist.all_to_all(outs, parts)
    for got, want in zip(outs, wanted):
        expect(got, want, "all_to_all")
    x = fresh((2 * size, 5), torch.int32)
    ours, theirs = torch.empty_like(x), torch.empty_like(x)
    dist.all_to_all_single(ours, x)
    dist.all_to_all_single(theirs, x, group=gloo)
    expect(ours, theirs, "all_to_all_single, equal")


def test_messages():
    if size == 1:
        return
    right, left = (rank + 1) % size, (rank - 1) % size
    for count in [0, 1, 100, 300000]:
        x = torch.arange(count, dtype=torch.float32) + rank
        y = torch.zeros(2 * count).view(count, 2)[:, 0]
        # All post, then all wait: a ring of blocking sends would never end.
        works = [dist.isend(x, right, tag=3), dist.irecv(y, left, tag=3)]
        for work in works:
            work.wait()
        expect(y, torch.arange(count, dtype=torch.float32) + left, f"ring of {count}")
    for work in dist.batch_isend_irecv([dist.P2POp(dist.irecv, y, left), dist.P2POp(dist.isend, x, right)]):
        work.wait()
    if rank == 0:
        seen = set()
        for _ in range(size - 1):
            x = torch.zeros(1)
            source = dist.recv(x)
            assert x.item() == source, (x, source)
            seen.add(source)
        assert seen == set(range(1, size)), seen
    else:
        dist.send(torch.tensor([float(rank)]), 0)
    # Tags are told apart, whatever the order.
    if rank == 0:
        dist.send(torch.tensor([1.0]), 1, tag=1)
        dist.send(torch.tensor([2.0]), 1, tag=2)
    elif rank == 1:
        x, y = torch.zeros(1), torch.zeros(1)
        dist.recv(y, 0, tag=2)
        dist.recv(x, 0, tag=1)
        assert (x.item(), y.item()) == (1.0, 2.0)


def test_works():
    x = torch.ones(10)
    work = dist.all_reduce(x, async_op=True)
    future = work.get_future()
    assert future.wait()[0].tolist() == [float(size)] * 10
    assert work.is_completed() and work.wait()
    assert work.result()[0].data_ptr() == x.data_ptr()
    doubled = dist.all_reduce(torch.ones(3), async_op=True).get_future().then(lambda f: f.value()[0] * 2)
    assert doubled.wait().tolist() == [2.0 * size] * 3
    # Nobody waits for these in order, nor for the last at all.
    many = [torch.full((n,), 1.0) for n in (3, 2000000, 0, 7)]
    works = [dist.all_reduce(t, async_op=True) for t in many]
    works[2].wait(timedelta(seconds=10))
    while not works[1].is_completed():
        pass
    for t, w in zip(many, works):
        w.wait()
        assert (t == size).all()
    dropped = torch.ones(1000)
    dist.all_reduce(dropped, async_op=True)
    dist.barrier()
    assert (dropped == size).all()
    lists = [[torch.zeros(2) for _ in range(size)]]
    work = shoal.allgather(lists, [torch.full((2,), float(rank))])
    assert [t[0].item() for t in work.get_future().wait()] == list(range(size))
    # A result may go to a tensor that learns.
    leaf = torch.ones(3, requires_grad=True)
    dist.all_reduce(leaf.data)
    with torch.no_grad():
        dist.broadcast(leaf.t(), 0)


def test_objects():
    out = [None] * size
    dist.all_gather_object(out, {"rank": rank, "text": "x" * rank})
    assert [o["rank"] for o in out] == list(range(size))
    box = [{"from": rank}]
    dist.broadcast_object_list(box, size - 1)
    assert box[0]["from"] == size - 1
    dist.scatter_object_list(box, [f"to {i}" for i in range(size)], src=0)
    assert box[0] == f"to {rank}"


def test_groups():
    for members in [[0], list(range(size)), list(range(0, size, 2)), list(range(max(0, size - 2), size))]:
        group = dist.new_group(members)
        x = torch.tensor([float(rank)])
        if rank in members:
            assert dist.get_world_size(group) == len(members)
            dist.all_reduce(x, group=group)
            assert x.item() == sum(members), (members, x)
            dist.broadcast(x.fill_(rank), members[-1], group=group)
            assert x.item() == members[-1]
            dist.destroy_process_group(group)
    # Two groups of the same ranks at the same time.
    a, b = dist.new_group(), dist.new_group()
    x, y = torch.ones(3000000), torch.ones(3000000)
    works = [dist.all_reduce(x, group=a, async_op=True), dist.all_reduce(y, group=b, async_op=True)]
    for work in reversed(works):
        work.wait()
    assert (x == size).all() and (y == size).all()


def test_shared():
    """Tensors that all ranks see, that some see, and what is left of them."""
    shoal_torch.share_tensors(1 << 16)
    for turn in range(3):
        for count in [100, 1 << 14, (1 << 20) + 3]:
            x = torch.ones(count) if turn != 1 or rank != 0 else private[:count].fill_(1)
            dist.all_reduce(x)
            assert (x == size).all(), (turn, count)
            y = x.clone().resize_(count + 100000)
            assert (y[:count] == size).all()
    del x
    x = torch.zeros(1 << 20)
    child = os.fork()
    if child == 0:
        y = torch.ones(1 << 20)
        os._exit(0 if (x == 0).all() and (y == 1).all() else 1)
    assert os.waitpid(child, 0)[1] == 0


private = torch.empty((1 << 20) + 3)
for name, test in list(globals().items()):
    if name.startswith("test_"):
        test()
# Once more, after an end.
dist.barrier()
dist.destroy_process_group()
