"""What is wrong ends in an exception that says so, on every rank it concerns."""
import os
import sys
import time
import types
from datetime import timedelta

import torch
import torch.distributed as dist

import shoal_torch  # noqa: F401

dist.init_process_group("shoal", timeout=timedelta(seconds=20))
rank, size = dist.get_rank(), dist.get_world_size()
world = dist.group.WORLD


def raises(texts, call, *arguments, **named):
    """The call raises an exception whose text has all of these, or this one."""
    texts = [texts] if isinstance(texts, str) else texts
    assert all(texts), "an empty text is in every other"
    try:
        call(*arguments, **named)
    except (RuntimeError, ValueError) as error:
        for text in texts:
            assert text in str(error), f"wanted '{text}' in: {error}"
        return
    raise AssertionError(f"no exception with {texts}")


ones = torch.ones
is_old = torch.__version__.startswith("1.")
if is_old:  # later ones do nothing on meta, whatever the backend, and refuse such a factor themselves
    raises("allreduce", world.allreduce, [ones(2, device="meta")])
    raises("2 elements", dist.all_reduce, ones(2), op=dist._make_nccl_premul_sum([ones(2)]))
raises("dense" if is_old else "Sparse", dist.broadcast, ones(2).to_sparse(), 0)
if is_old:  # later ones do not hand sparse tensors to any backend on the CPU
    raises("ReduceOp.SUM", dist.all_reduce, ones(2).to_sparse(), op=dist.ReduceOp.MAX)
    if size > 1:
        raises("another shape", dist.all_reduce, ones(2 if rank == 0 else 3).to_sparse(),
               group=dist.new_group())
if is_old:  # nor quantized ones
    quantized = torch.quantize_per_tensor(ones(2), 0.1, 0, torch.qint8)
    raises("quantized", dist.all_reduce, quantized)
    raises("int_repr", world.allgather, [[quantized.clone() for _ in range(size)]], [quantized])
# (By new_group the ranks would count different groups afterwards.)
raises("named twice", shoal_torch._create_process_group, types.SimpleNamespace(
    store=None, group_rank=0, group_size=2, timeout=timedelta(1), global_ranks_in_group=[0, 0]))
raises("AVG with bool", dist.all_reduce, ones(2, dtype=torch.bool), op=dist.ReduceOp.AVG)
raises("floating-point", dist.all_reduce, ones(2, dtype=torch.int32), op=dist._make_nccl_premul_sum(2.0))
raises("BAND", dist.all_reduce, ones(2), op=dist.ReduceOp.BAND)
raises("non-empty", world.allreduce, [])
raises("single tensor", world.allreduce, [ones(2), ones(2)])
raises("expanded", dist.all_reduce, ones(1).expand(4))
raises("invalid output tensor list", world.allgather, [[ones(2)] * (size + 1)], [ones(2)])
raises("invalid tensor size", world.allgather, [[ones(3)] * size], [ones(2)])
raises("invalid tensor type", world.allgather, [[ones(2, dtype=torch.float64)] * size], [ones(2)])
raises("world_size times", world._allgather_base, ones(3 * size), ones(2))
raises("split", dist.all_to_all_single, ones(3), ones(3), [1] * (size + 1), [1] * (size + 1))
options = dist.BroadcastOptions()
options.rootRank = size
raises("invalid root rank", world.broadcast, [ones(2)], options)
raises("no rank", world.send, [ones(2)], size, 0)
raises("nonnegative", world.send, [ones(2)], 0, -1)
dist.barrier()  # the group is as it was

# A child that fork() made.
child = os.fork()
if child == 0:
    try:
        raises("forked", dist.all_reduce, ones(2))
        os._exit(0)
    except BaseException as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(1)
assert os.waitpid(child, 0)[1] == 0
dist.barrier()

if size > 1:
    # Whatever differs between ranks: all are told what, and the group is done for. (Rank 0 passes one, all others
    # the other.)
    def differ(texts, call):
        group = dist.new_group()
        raises(["rank 0 on ", "but rank 1 on ", *texts], call, group)
        raises("earlier call", dist.all_reduce, ones(2), group=group)

    first = rank == 0
    root = 0 if first else 1
    long = 1 << 20  # goes another way than a short one
    differ(["all_reduce of 3 f32", "all_reduce of 2 f32"],
           lambda group: dist.all_reduce(ones(3 if first else 2), group=group))
    differ([f"all_reduce of {long} f32", "all_reduce of 2 f32"],
           lambda group: dist.all_reduce(ones(long if first else 2), group=group))
    differ(["called all_reduce of 2 f32 (sum)", "called broadcast of 8 i8 (root 0"],
           lambda group: dist.all_reduce(ones(2), group=group) if first else dist.broadcast(ones(2), 0, group=group))
    differ(["f64", "i64"],
           lambda group: dist.all_reduce(ones(2, dtype=torch.float64 if first else torch.int64), group=group))
    differ(["2 f32 (sum)", "2 f32 (max)"],
           lambda group: dist.all_reduce(ones(2), op=dist.ReduceOp.SUM if first else dist.ReduceOp.MAX, group=group))
    # What goes by the same name in Shoal.
    differ(["broadcast of 8 i8", "another type"],
           lambda group: dist.broadcast(ones(2, dtype=torch.float32 if first else torch.int32), 0, group=group))
    differ(["all_reduce of 2 i32", "another type"],
           lambda group: dist.all_reduce(ones(2, dtype=torch.int16 if first else torch.int32), group=group))
    differ(["all_gather", "another type or operation"],
           lambda group: dist.all_reduce(ones(2, dtype=torch.int32),
                                         op=dist.ReduceOp.BAND if first else dist.ReduceOp.BOR, group=group))

    def gather(group, count=2):
        dist.gather(ones(count), [ones(count) for _ in range(size)] if rank == root else None, root, group=group)

    def scatter(group, count=2):
        dist.scatter(ones(count), [ones(count) for _ in range(size)] if rank == root else None, root, group=group)

    for count in (2, long):
        for name, call in (("reduce", lambda group: dist.reduce(ones(count), root, group=group)),
                           ("broadcast", lambda group: dist.broadcast(ones(count), root, group=group)),
                           ("gather", lambda group: gather(group, count)),
                           ("scatter", lambda group: scatter(group, count))):
            differ([f"called {name} of ", "root 0", "root 1"], call)
    root = 0
    differ(["called reduce of 2 f32 (sum, root 0)", "called all_reduce of 2 f32 (sum)"],
           lambda group: dist.reduce(ones(2), 0, group=group) if first else dist.all_reduce(ones(2), group=group))
    differ(["called gather", "called scatter"], lambda group: gather(group) if first else scatter(group))
    for call in (gather, scatter):
        group = dist.new_group()
        raises([f"tensor of {8 * long} bytes", f"of {4 * long}", "same size"], call, group,
               2 * long if first else long)

    # To destroy it ends torch's hold of it only: whoever has the object may use it.
    group = dist.new_group()
    dist.destroy_process_group(group)
    x = ones(2)
    group.allreduce([x]).wait()
    assert (x == size).all(), x

    # Nobody comes.
    group = dist.new_group(timeout=timedelta(seconds=0.3))
    if rank == 0:
        begin = time.monotonic()
        raises("timed out after 0.3 s", dist.all_reduce, ones(2), group=group)
        raises("timed out", world.recv([ones(2)], 1, 0).wait, timedelta(seconds=0.3))
        work = dist.all_reduce(ones(2), group=dist.group.WORLD, async_op=True)
        raises("timed out", work.wait, timedelta(seconds=0.2))
        dist.distributed_c10d._get_default_store().set("tried", "")
    else:
        dist.distributed_c10d._get_default_store().wait(["tried"])
        work = dist.all_reduce(ones(2), async_op=True)
    work.wait()

    # A message of another length.
    if rank == 0:
        dist.send(ones(3), 1)
        raises("TRUNCATE", dist.recv, ones(2), 1)
    elif rank == 1:
        raises("sent 12 bytes", dist.recv, ones(4), 0)
        dist.send(ones(3), 0)
    dist.barrier()

old = world
dist.destroy_process_group()
raises("not been initialized", dist.all_reduce, ones(2))
del old, world
