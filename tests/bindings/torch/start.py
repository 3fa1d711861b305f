"""start.py RANKS: the ranks find each other by a file, by env://, and by tcp://, without mpirun; one
that throws, or is killed, leaves none waiting; ranks on two hosts are told; nothing is left behind; and
the default group may be Gloo's."""
import glob
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

PROGRAM = r"""
import os, sys, time, types
from datetime import timedelta
before = set(os.environ)
import torch, torch.distributed as dist
import shoal_torch
method, rank, size, how = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
if how == "elsewhere":
    if rank == size - 1:
        import socket
        socket.gethostname = lambda: "elsewhere"
    try:
        dist.init_process_group("shoal", init_method=method, rank=rank, world_size=size)
    except RuntimeError as error:
        assert "is on another host" in str(error) and "elsewhere" in str(error), error
        sys.exit()
    sys.exit("ranks of two hosts without mpirun")
if how == "beside":  # the run begins with the first group that is Shoal's, which must have all ranks
    dist.init_process_group("gloo", init_method=method, rank=rank, world_size=size)
    if size > 1 and rank == 0:
        try:
            shoal_torch._create_process_group(types.SimpleNamespace(
                store=None, group_rank=0, group_size=1, timeout=timedelta(1), global_ranks_in_group=[0]))
        except ValueError as error:
            assert f"1 of the {size} ranks" in str(error), error
        else:
            sys.exit("a run of less than all ranks")
    group = dist.new_group(list(range(size)), backend="shoal")
    x = torch.tensor([float(rank)])
    dist.all_reduce(x, group=group)
    assert x.item() == size * (size - 1) / 2
    alone = dist.new_group([size - 1], backend="shoal")
    if rank == size - 1:
        dist.all_reduce(x, group=alone)
        assert x.item() == size * (size - 1) / 2
    dist.destroy_process_group()
    sys.exit()
if method == "env":
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(size), MASTER_ADDR="127.0.0.1", MASTER_PORT=sys.argv[5])
    dist.init_process_group("shoal")
else:
    dist.init_process_group("shoal", init_method=method, rank=rank, world_size=size)
assert (dist.get_rank(), dist.get_world_size()) == (rank, size)
assert not any(name.startswith("PMIX_") for name in set(os.environ) - before)
x = torch.tensor([float(rank)])
dist.all_reduce(x)
assert x.item() == size * (size - 1) / 2
if how == "twice":
    dist.destroy_process_group()
    dist.init_process_group("shoal", init_method=method + "2", rank=rank, world_size=size)
    dist.all_reduce(x.fill_(1))
    assert x.item() == size
elif how == "late" and rank == 0:
    time.sleep(1)  # the others have ended long since
elif how != "" and rank == size - 1:
    if how == "throws":
        raise ValueError("on purpose")
    if how == "killed":
        os.kill(os.getpid(), 9)
if how in ("throws", "killed"):
    try:
        dist.all_reduce(x)
    except RuntimeError as error:
        # Or another, which was told so and has ended itself.
        assert "has ended" in str(error), error
        print("told")
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def run(method, how=""):
    port = free_port()
    print(f"{time.monotonic() - began:.1f} s: {method} {how}", flush=True)
    ranks = [subprocess.Popen([sys.executable, "-c", PROGRAM, method.replace("PORT", port), str(rank),
                               str(size), how, port],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
             for rank in range(size)]
    results = [rank.communicate(timeout=60) + (rank.returncode,) for rank in ranks]
    if how in ("throws", "killed"):
        *others, last = results
        assert last[2] == (1 if how == "throws" else -9), last
        assert how == "killed" or "on purpose" in last[1], last
        assert all(status == 0 and "told" in out for out, _, status in others), results
    else:
        assert all(status == 0 for _, _, status in results), results


size = int(sys.argv[1])
began = time.monotonic()
with tempfile.TemporaryDirectory() as folder:
    os.environ["TMPDIR"] = folder
    run(f"file://{folder}/first", "twice")
    run(f"file://{folder}/second", "beside")
    run("env", "late")
    run("tcp://127.0.0.1:PORT", "throws")
    if size > 1:
        run("env", "killed")
        run(f"file://{folder}/third", "elsewhere")
    end = time.monotonic() + 10
    while glob.glob(folder + "/shoal-torch-*"):
        assert time.monotonic() < end, "an mpirun goes on: " + str(glob.glob(folder + "/*/*"))
        time.sleep(0.05)
