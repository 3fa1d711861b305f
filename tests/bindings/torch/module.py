"""The module shoal on numpy arrays and on torch tensors; what is wrong is an exception."""
import os
import sys

import numpy as np
import torch

import shoal
from shoal.linear import column_linear, row_linear

runtime = shoal.Runtime()
world = runtime.world
rank, size = world.rank, world.size


def raises(text, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except shoal.Error as error:
        assert text in str(error), f"wanted '{text}' in: {error}"
        return
    raise AssertionError(f"no exception with '{text}'")


for make in (lambda n: np.full(n, rank, np.float32), lambda n: torch.full((n,), float(rank)),
             lambda n: torch.full((n,), rank).to(torch.bfloat16), lambda n: shoal.shared_array(n, "int64") + rank):
    for wait in (True, False):
        def do(work):
            assert (work is None) == wait
            if work is not None:
                work.wait()
                assert work.test()
        x = make(1000)
        do(world.all_reduce(x, wait=wait))
        assert (x == size * (size - 1) / 2).all()
        parts = make(4 * size)
        mine = make(4)
        do(world.reduce_scatter(parts, mine, "max", wait=wait))
        assert (mine == size - 1).all()
        mine[:] = rank
        do(world.all_gather(mine, parts, wait=wait))
        assert [float(parts[4 * r + 1]) for r in range(size)] == list(range(size))
        got = make(4 * size)
        do(world.all_to_all(parts, got, wait=wait))
        assert (got == rank).all()
        do(world.broadcast(mine, size - 1, wait=wait))
        assert (mine == size - 1).all()
        do(world.barrier(wait=wait))
if size > 1:
    x = np.full(3, rank, np.float64)
    if rank == 0:
        world.send(x, 1, tag=4)
    elif rank == 1:
        world.receive(x, 0, tag=4)
        assert (x == 0).all()

raises("not contiguous", world.all_reduce, np.zeros((4, 4), np.float32).T[1:])
raises("complex64", world.all_reduce, np.zeros(2, np.complex64))
raises("unknown operation", world.all_reduce, np.zeros(2), op="mean")
raises("different types", world.all_reduce, np.zeros(2), out=np.zeros(2, np.float32))
raises("elements", world.all_gather, np.zeros(2), np.zeros(2 * size + 1))
frozen = np.zeros(2)
frozen.flags.writeable = False
raises("read-only", world.broadcast, frozen)
raises("tp", shoal.Mesh, world, "tp=0")
tp = shoal.Mesh(world, f"dp=1,tp={size}").axis("tp")
assert (tp.rank, tp.size) == (rank, size)
part = world.split(rank % 2, name="parity")
assert part.size == (size + 1 - rank % 2) // 2

# The divided layers give what whole ones do.
torch.manual_seed(0)
first, second = torch.nn.Linear(6, 4 * size), torch.nn.Linear(4 * size, 6)
mine = slice(4 * rank, 4 * rank + 4)
leaves = [t.detach().clone().contiguous().requires_grad_()
          for t in (first.weight[mine], first.bias[mine], second.weight[:, mine], second.bias)]
x = torch.randn(2, 5, 6)
inputs = [x.clone().requires_grad_() for _ in range(2)]
whole = second(torch.relu(first(inputs[0])))
divided = row_linear(tp, torch.relu(column_linear(tp, inputs[1], *leaves[:2])), *leaves[2:])
whole.square().sum().backward()
divided.square().sum().backward()
wanted = (whole, inputs[0].grad, first.weight.grad[mine], first.bias.grad[mine], second.weight.grad[:, mine],
          second.bias.grad)
for got, want in zip((divided, inputs[1].grad, *(leaf.grad for leaf in leaves)), wanted):
    assert torch.allclose(got, want, rtol=1e-4, atol=1e-4)
arrays = [leaf.detach().numpy() for leaf in leaves]
hidden = np.maximum(column_linear(tp, x.numpy(), *arrays[:2]), 0)
assert np.allclose(row_linear(tp, hidden, *arrays[2:]), whole.detach().numpy(), rtol=1e-4, atol=1e-4)
raises("does not fit", column_linear, tp, x[..., :5].contiguous(), leaves[0])
raises("float32", column_linear, tp, x.double(), leaves[0])
raises("meta", world.all_reduce, torch.zeros(2, device="meta"))
raises("unknown axis", shoal.Mesh, world, f"xy={size}")
raises("root", world.broadcast, np.zeros(2), size)
raises("no rank", world.send, np.zeros(2), size)
raises("tag", world.send, np.zeros(2), 0, -1)
raises("counts", world.all_gather, np.zeros(2), np.zeros(2), [1] * (size + 1))

# A child that fork() made has no part in the run, and ends like any other.
sys.stdout.flush()
child = os.fork()
if child == 0:
    status = 1
    try:
        raises("forked", world.all_reduce, np.zeros(2))
        raises("forked", world.barrier, wait=False)
        raises("forked", world.split, 0)
        raises("forked", shoal.Runtime)
        own = shoal.shared_array(1000)  # private there
        own[:] = 1
        status = 0
    finally:
        sys.exit(status)
assert os.waitpid(child, 0)[1] == 0
world.barrier()

# After the end: exceptions, and arrays that may still be read.
kept = shoal.shared_array(1 << 20)
kept[:] = rank
mesh = shoal.Mesh(world, f"tp={size}")
runtime.close()
raises("shoal_init() has not been called", world.all_reduce, np.zeros(2))
raises("shoal_init() has not been called", tp.barrier)
raises("shoal_init() has not been called", mesh.axis, "tp")
raises("", shoal.Runtime)  # MPI starts once a process
assert (kept == rank).all()
runtime.close()
del part, tp, mesh, kept
