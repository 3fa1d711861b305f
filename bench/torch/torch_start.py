# How long a run takes to start, after torch itself is imported: import shoal_torch, init_process_group, and the
# first all-reduce, on the slowest rank.
#
#   /usr/bin/python3 bench/torch/torch_start.py [mpirun] [torchrun] [env] [starts=10]
#
# with build/release/python in PYTHONPATH. Two ranks. What a rank waits for another that is not so far yet with
# its import of torch is in it, by torchrun and env:// (ranks started one by one, as from a shell).
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time


def rank():
    begin = time.time()
    import torch
    import torch.distributed as dist
    imported = time.time()
    import shoal_torch  # noqa: F401
    own = time.time()
    dist.init_process_group("shoal")
    joined = time.time()
    dist.all_reduce(torch.ones(1))
    end = time.time()
    with open(f"{sys.argv[2]}/{dist.get_rank()}", "w") as out:
        print(begin, imported, own, joined, end, file=out)
    dist.destroy_process_group()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def start(how, folder):
    me = [sys.executable, os.path.abspath(__file__), "rank", folder]
    launch = os.path.join(os.path.dirname(me[1]), "../../launch/mpirun")
    if how == "mpirun":
        subprocess.run([launch, "-n", "2", *me], check=True)
    elif how == "torchrun":
        subprocess.run([sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--redirects=1", "--tee=1",
                        f"--master_port={free_port()}", *me[1:]], check=True, stderr=subprocess.DEVNULL)
    else:
        environment = dict(os.environ, WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=free_port())
        ranks = [subprocess.Popen(me, env=dict(environment, RANK=str(number))) for number in range(2)]
        assert [process.wait() for process in ranks] == [0, 0]
    times = [[float(word) for word in open(f"{folder}/{number}").read().split()] for number in range(2)]
    # From where both have torch: the earlier one can but wait before.
    both = max(imported for _, imported, *_ in times)
    alone = max(end - imported for _, imported, _, _, end in times)
    end = max(end for *_, end in times)
    return (alone, end - both, max(imported - begin for begin, imported, *_ in times),
            max(own - imported for _, imported, own, *_ in times), max(joined - own for _, _, own, joined, _ in times),
            max(end - joined for *_, joined, end in times))


if sys.argv[1:2] == ["rank"]:
    rank()
else:
    count = int(next((word.split("=")[1] for word in sys.argv if word.startswith("starts=")), 10))
    for how in [word for word in sys.argv[1:] if "=" not in word] or ["mpirun", "torchrun", "env"]:
        starts = []
        for _ in range(count):
            with tempfile.TemporaryDirectory() as folder:
                starts.append(start(how, folder))
        columns = list(zip(*starts))
        print(f"{how:>8}: {statistics.median(columns[0]):.2f} s (worst {max(columns[0]):.2f}); from where both ranks "
              f"have torch {statistics.median(columns[1]):.2f} (worst {max(columns[1]):.2f}); import of torch "
              f"{statistics.median(columns[2]):.2f}; medians of import {statistics.median(columns[3]):.3f}, "
              f"init {statistics.median(columns[4]):.3f}, first {statistics.median(columns[5]):.4f}", flush=True)
