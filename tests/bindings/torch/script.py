"""A script that knows nothing of Shoal finds the backend under `python3 -m shoal_torch`: run by torchrun, and when it
starts its ranks itself, in every way that Python has."""
import os
import socket
import subprocess
import sys
import tempfile

SCRIPT = r"""
import argparse, os
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from helper import summed


def work(rank, size, backend):
    dist.init_process_group(backend, rank=rank, world_size=size)
    print(f"[rank {rank}: {summed(size):.0f} over {dist.get_backend()}]", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend")
    parser.add_argument("--start")
    arguments = parser.parse_args()
    if arguments.start == "torchrun":
        work(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), arguments.backend)
    elif arguments.start == "mp.spawn":
        mp.spawn(work, args=(2, arguments.backend), nprocs=2)
    else:
        mp.set_start_method(arguments.start)
        ranks = [mp.Process(target=work, args=(rank, 2, arguments.backend)) for rank in range(2)]
        for rank in ranks:
            rank.start()
        for rank in ranks:
            rank.join()
            assert rank.exitcode == 0, rank.exitcode
"""

# Beside the script, where Python looks for it.
HELPER = r"""
import torch
import torch.distributed as dist


def summed(size):
    x = torch.full((1000,), float(size))
    dist.all_reduce(x)
    return x[999].item()
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def run(start, folder):
    port = free_port()
    words = [sys.executable]
    if start == "torchrun":  # Debian's fails without the two flags, over Gloo too
        words += ["-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={port}", "--redirects=1",
                  "--tee=1"]
    words += ["-m", "shoal_torch", f"{folder}/scripts/script.py", "--backend", "shoal", "--start", start]
    done = subprocess.run(words, env={**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}, text=True,
                          cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=200)
    assert done.returncode == 0, f"{start}: {done.stdout}"
    for rank in range(2):
        assert done.stdout.count(f"[rank {rank}: 4 over shoal]") == 1, f"{start}: {done.stdout}"
    print(f"{start}: as it should be", flush=True)


with tempfile.TemporaryDirectory() as folder:
    os.mkdir(folder + "/scripts")
    for name, text in (("script", SCRIPT), ("helper", HELPER)):
        with open(f"{folder}/scripts/{name}.py", "w") as out:
            out.write(text)
    for start in ("torchrun", "mp.spawn", "spawn", "fork", "forkserver"):
        run(start, folder)
    wrong = subprocess.run([sys.executable, "-m", "shoal_torch", "nowhere.py"], text=True, stderr=subprocess.PIPE,
                           cwd=folder, timeout=60)
    assert wrong.returncode == 1 and "there is no script nowhere.py" in wrong.stderr, wrong
