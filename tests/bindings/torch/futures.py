"""Functions that a future calls may use the group themselves, wait for what comes later, or end it."""
import gc
import threading
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks, powerSGD_hook
from torch.nn.parallel import DistributedDataParallel

import shoal_torch  # noqa: F401

dist.init_process_group("shoal", timeout=timedelta(seconds=20))
rank, size = dist.get_rank(), dist.get_world_size()


def future_of(tensor, group=None):
    return dist.all_reduce(tensor, group=group, async_op=True).get_future()


def all_are(tensor, value, what):
    assert (tensor == value).all(), f"rank {rank}, {what}: {tensor}, wanted {value}"


def deep(tensor, depth):
    """Each sum is begun, and waited for, by the function that the one before calls."""
    def again(future):
        value = future.value()[0]
        return deep(value, depth - 1) if depth > 1 else value
    return future_of(tensor).then(again).wait()


def test_waits_inside():
    for count in (3, 400000):  # done in passing, and by the thread at once
        for depth in (1, 2, 5):
            all_are(deep(torch.ones(count), depth), size**depth, f"depth {depth}")


def test_waits_for_what_was_begun_before():
    first, second = torch.ones(5), torch.ones(5)
    one, two = future_of(first), future_of(second)
    both = one.then(lambda future: future.value()[0] + two.wait()[0])
    all_are(both.wait(), 2 * size, "sum of both")


def test_work_inside_its_own_function():
    work = dist.all_reduce(torch.ones(4), async_op=True)
    seen = work.get_future().then(lambda future: (work.is_completed(), work.wait()))
    assert seen.wait() == (True, True)


def test_messages_inside():
    if size == 1:
        return
    right, left = (rank + 1) % size, (rank - 1) % size
    x, y = torch.zeros(3), torch.zeros(3)
    first, second = dist.irecv(x, left, tag=1), dist.irecv(y, left, tag=2)
    second_future = second.get_future()
    both = first.get_future().then(lambda future: future.value()[0] + second_future.wait()[0])
    dist.send(torch.full((3,), 1.0 + rank), right, tag=1)
    dist.send(torch.full((3,), 10.0), right, tag=2)
    all_are(both.wait(), 11 + left, "two messages")


def test_barrier_ends_what_was_begun():
    """As PyTorch has it: what a rank began before a barrier is done after it, though nobody waited."""
    for turn in range(20):
        apart = [torch.zeros(2, 100000)[:, ::2] for _ in range(size)]
        dist.all_gather(apart, torch.full((2, 50000), float(turn + rank)), async_op=True)
        dist.barrier()
        for other, part in enumerate(apart):
            all_are(part, turn + other, "gathered before the barrier")


def test_many_threads():
    """Threads with a group each, which wait in every way there is."""
    groups = [dist.new_group() for _ in range(3)]
    failures = []

    def use(group, value):
        try:
            for turn in range(30):
                x = torch.full((7 if turn % 3 else 300000,), float(value))
                work = dist.all_reduce(x, group=group, async_op=True)
                if turn % 4 == 0:
                    work.get_future().then(lambda future: future.value()[0]).wait()
                elif turn % 4 == 1:
                    work.wait()
                elif turn % 4 == 2:
                    work.wait(timedelta(seconds=15))
                else:
                    while not work.is_completed():
                        pass
                all_are(x, value * size, f"turn {turn}")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=use, args=(group, i + 1)) for i, group in enumerate(groups)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


def test_end_with_functions_under_way():
    """A group that goes while Python is still to be called, from outside and from such a function."""
    for count in (3, 400000):
        group = dist.new_group()
        called = torch.futures.Future()
        future_of(torch.ones(count), group).then(lambda future: called.set_result(future.value()[0].sum().item()))
        dist.destroy_process_group(group)
        del group
        assert called.wait() == size * count
        group = dist.new_group()
        future = future_of(torch.ones(count), group)
        box = [group]
        ended = future.then(lambda future: (dist.destroy_process_group(box.pop()), gc.collect())[1])
        del group
        ended.wait()
    dist.barrier()


def test_works_outlive_their_group():
    group = dist.new_group()
    x = torch.ones(4)
    work = dist.all_reduce(x, group=group, async_op=True)
    dist.destroy_process_group(group)
    del group
    assert work.wait() and work.is_completed()
    all_are(work.result()[0], size, "work of a group that is gone")
    all_are(work.get_future().wait()[0], size, "its future")


def test_hooks_of_ddp():
    """What a gradient's hook makes of it, the same on all ranks and near the plain mean."""
    def gradients(hook, state):
        torch.manual_seed(3)
        model = torch.nn.Sequential(torch.nn.Linear(40, 30), torch.nn.Tanh(), torch.nn.Linear(30, 2))
        model = DistributedDataParallel(model)
        if hook:
            model.register_comm_hook(state, hook)
        for _ in range(4):
            model.zero_grad()
            x = torch.randn(8, 40, generator=torch.Generator().manual_seed(rank))
            model(x).square().sum().backward()
        return torch.cat([p.grad.reshape(-1) for p in model.parameters()])

    plain = gradients(None, None)
    state = powerSGD_hook.PowerSGDState(None, matrix_approximation_rank=30, start_powerSGD_iter=2,
                                        min_compression_rate=0.1)
    wrapped = default_hooks.fp16_compress_wrapper(default_hooks.allreduce_hook)
    # (PyTorch itself refuses bf16_compress_hook without NCCL.)
    for hook, hook_state, tolerance in [
            (default_hooks.allreduce_hook, None, 1e-5), (default_hooks.fp16_compress_hook, None, 1e-2),
            (wrapped, None, 1e-2), (powerSGD_hook.powerSGD_hook, state, 1e-3)]:
        got = gradients(hook, hook_state)
        away = ((got - plain).norm() / plain.norm()).item()
        assert away <= tolerance, (hook.__name__, away)
        from_0 = got.clone()
        dist.broadcast(from_0, 0)
        assert torch.equal(got, from_0), hook.__name__


for name, test in list(globals().items()):
    if name.startswith("test_"):
        test()
dist.barrier()
dist.destroy_process_group()
