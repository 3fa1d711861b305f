"""A training whose batches come from forked workers; and, by torchrun, ranks that fail: each ends in an
exception of the others and in the end of torchrun, in far less than the timeout of the group."""
import os
import subprocess
import sys
import tempfile
import time

RANK = r"""
import os, signal, sys, time
import torch, torch.distributed as dist
import shoal_torch
dist.init_process_group("shoal")
rank, how, told = dist.get_rank(), sys.argv[1], sys.argv[2]
# torchrun ends the others as soon as one has failed: they are to be told all the same.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if how == "loader":
    shoal_torch.share_tensors()
    data = torch.arange(4096.0).reshape(64, 64)
    loader = torch.utils.data.DataLoader(data, batch_size=8, num_workers=2)
    for batch in loader:
        dist.all_reduce(batch)
    begin = 8 * 7 * 64
    assert torch.equal(batch, dist.get_world_size() * torch.arange(begin, begin + 512.0).reshape(8, 64))
    dist.destroy_process_group()
    sys.exit()
x = torch.ones(1 << 20)
dist.all_reduce(x)
if rank == 1:
    if how == "raises":
        raise ValueError("on purpose")
    if how == "exits":
        os._exit(3)
    os.kill(os.getpid(), signal.SIGKILL)
try:
    dist.all_reduce(x)
except RuntimeError as error:
    open(told, "w").write(str(error))
    raise
"""


def run(how, folder):
    script, told = f"{folder}/rank.py", f"{folder}/{how}"
    with open(script, "w") as out:
        out.write(RANK)
    # Debian's torchrun fails without these two flags, over Gloo too.
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "--redirects=1",
             "--tee=1", script, how, told]
    begin = time.monotonic()
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=200)
    print(f"{how}: torchrun ended with {done.returncode} after {time.monotonic() - begin:.1f} s", flush=True)
    if how == "loader":
        assert done.returncode == 0, done.stdout
        return
    assert done.returncode != 0, done.stdout
    if how == "raises":
        assert "on purpose" in done.stdout, done.stdout
    assert os.path.exists(told), "rank 0 was not told: " + done.stdout
    text = open(told).read()
    assert "allreduce over" in text and "rank 1 on " in text and "has ended" in text, text


with tempfile.TemporaryDirectory() as folder:
    os.environ["TMPDIR"] = folder
    for how in ("loader", "raises", "exits", "killed"):
        run(how, folder)
