"""How a process joins the run: by mpirun, or without it.

MPI wants its processes started by mpirun (or by srun with PMIx). torchrun, torch.multiprocessing and a
shell loop start them otherwise, and each finds the others through a torch Store. Then rank 0 starts an
mpirun of its own, whose processes do nothing: each hands the variables that tell MPI who it is to one of
the ranks, and lasts until all of these have ended. MPI cannot tell the difference, so that everything
Shoal does under mpirun it does here.
"""
import atexit
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import torch
from torch.distributed import TCPStore

from . import _C

# Of the variables that mpirun sets for its processes.
_IDENTITY = ("OMPI_", "PMIX_", "PMI_", "ORTE_", "OPAL_")

# Arguments: the folder. Leaves its identity there, then waits until no rank holds the lock.
_STAND_IN = r"""
cd "$1" || exit 1
env -0 >"$OMPI_COMM_WORLD_RANK.new" && mv "$OMPI_COMM_WORLD_RANK.new" "$OMPI_COMM_WORLD_RANK.env" || exit 1
exec flock -x alive true
"""

# Arguments: the folder, mpirun and its arguments. The folder goes when the last of them has.
_LAUNCH = r"""
folder=$1
shift
cd /
"$@" >"$folder/log" 2>&1 </dev/null
rm -rf "$folder"
"""


def under_mpi():
    """True if mpirun or srun (with PMIx) started this process."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return False  # torchrun, whoever started that
    return "OMPI_COMM_WORLD_SIZE" in os.environ or "PMIX_RANK" in os.environ


def _leave():
    # An exception that nobody caught: the others must not wait for this process. What began in order
    # ends in order.
    _C.leave(in_order=not hasattr(sys, "last_value"))


def _start_mpi():
    _C.start()
    atexit.register(_leave)


def _resolves(host):
    try:
        return bool(socket.getaddrinfo(host, None, socket.AF_INET))
    except OSError:
        return False


def _own_address():
    """By which this host reaches others, for those that do not know its name; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for documentation (RFC 5737)
            return probe.getsockname()[0]
        except OSError:
            return "127.0.0.1"


def prepare_env():
    """What makes init_method env:// work under mpirun, and quick elsewhere."""
    if under_mpi():
        _name_ranks_by_mpi()
    else:
        _await_store()


def _await_store():
    """By env:// without mpirun: the client of torch 1 looks for rank 0's store again only after a second, so that
    a rank that comes a little earlier waits so long. Here it waits for that long at most, and looks more often."""
    if not torch.__version__.startswith("1."):
        return
    address, port = os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT", "")
    if not address or not port.isdecimal() or os.environ.get("RANK", "0") == "0":
        return
    end = time.monotonic() + 1
    while time.monotonic() < end:
        try:
            socket.create_connection((address, int(port)), timeout=0.2).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.005)
        except (OSError, OverflowError):
            return  # nothing that patience helps against


def _name_ranks_by_mpi():
    """Under mpirun, what init_method env:// wants and the environment lacks comes from MPI."""
    if "WORLD_SIZE" in os.environ:
        return
    size = os.environ.get("OMPI_COMM_WORLD_SIZE")
    _start_mpi()
    os.environ.setdefault("RANK", str(_C.world_rank()))
    os.environ.setdefault("WORLD_SIZE", str(_C.world_size()))
    if size is not None:
        os.environ.setdefault("LOCAL_RANK", os.environ["OMPI_COMM_WORLD_LOCAL_RANK"])
        os.environ.setdefault("LOCAL_WORLD_SIZE", os.environ["OMPI_COMM_WORLD_LOCAL_SIZE"])
    if "MASTER_ADDR" in os.environ:
        return
    text = ""
    if _C.world_rank() == 0:
        host = "127.0.0.1" if _C.on_one_node() else socket.gethostname()
        text = f"{host} {_own_address()} {_open_store()}"
    host, address, port = _C.from_rank_0(text).split()
    os.environ["MASTER_ADDR"] = host if _resolves(host) else address
    os.environ["MASTER_PORT"] = port


_store = None  # rank 0's, until init_process_group has found it, as both say multi_tenant


def _open_store():
    """On rank 0: the port of the store by which env:// will start. It listens before any rank can look for it:
    torch's client tries again only after a second. A port that the environment names is kept."""
    global _store
    port = int(os.environ.get("MASTER_PORT", "0"))
    _store = TCPStore("127.0.0.1", port, _C.world_size(), True, wait_for_workers=False, multi_tenant=True)
    return _store.port


def _no_way(problem):
    return RuntimeError(
        f"shoal: {problem}; start the ranks with mpirun or `shoal run -- python3 script.py`")


def _ranks_that_fit():
    """How many ranks this host may have, by the launcher's word or by its processors."""
    local = os.environ.get("LOCAL_WORLD_SIZE", "")
    return int(local) if local.isdecimal() else os.cpu_count() or 1


def _require_one_host(store, rank, size):
    here = f"{socket.gethostname()} {os.stat('/proc/self/ns/pid').st_ino}"
    store.set(f"shoal/host/{rank}", here)
    for other in range(size):
        there = store.get(f"shoal/host/{other}").decode()
        if there != here:
            raise _no_way(f"rank {other} is on another host or in another container "
                          f"({there.split()[0]}) than rank {rank} ({here.split()[0]}), and without "
                          "mpirun all must be on one")


def _launch(size):
    """On rank 0: the folder in which identities appear."""
    mpirun = shutil.which("mpirun")
    if mpirun is None:
        raise _no_way("there is no mpirun in PATH, which starts MPI for these ranks")
    folder = tempfile.mkdtemp(prefix="shoal-torch-")
    lock = _hold(folder)
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith(_IDENTITY) or name.startswith("OMPI_MCA_")}
    environment.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    subprocess.Popen(
        ["sh", "-c", _LAUNCH, "sh", folder, mpirun, "-n", str(size), "--host", f"localhost:{size}",
         "--oversubscribe", "--bind-to", "none", "--mca", "plm_rsh_agent", "false",
         "--mca", "btl_vader_backing_directory", folder,
         "sh", "-c", _STAND_IN, "sh", folder],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=environment, start_new_session=True)
    return folder, lock


def _hold(folder):
    """The lock that shows that this process lives: the system drops it when the process ends."""
    import fcntl
    file = os.open(os.path.join(folder, "alive"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(file, fcntl.LOCK_SH)
    return file


def _log_of(folder):
    try:
        with open(os.path.join(folder, "log"), errors="replace") as log:
            return " ".join(log.read().split())[:400]
    except OSError:
        return ""


def _take_identity(folder, rank, deadline):
    path = os.path.join(folder, f"{rank}.env")
    while not os.path.exists(path):
        if time.monotonic() > deadline:
            raise _no_way(f"mpirun did not start MPI for these ranks: {_log_of(folder)}")
        time.sleep(0.002)
    with open(path, "rb") as file:
        pairs = [pair.split(b"=", 1) for pair in file.read().split(b"\0") if b"=" in pair]
    return {os.fsdecode(name): os.fsdecode(value) for name, value in pairs
            if os.fsdecode(name).startswith(_IDENTITY)}


_held = None  # the lock's file, for as long as the process lives


def join(store, rank, size, timeout):
    """Makes this process rank `rank` of MPI's world, whoever started it. Once a process."""
    global _held, _store
    _store = None  # torch has it now, and ends it with the group: the next one wants an empty one
    if _C.alive():
        return
    if under_mpi():
        _start_mpi()
        return
    deadline = time.monotonic() + timeout
    # mpirun takes 0.2 s, in which the other ranks may come, if they can be on this host.
    folder = None
    if rank == 0 and size <= _ranks_that_fit():
        folder, _held = _launch(size)
    try:
        _require_one_host(store, rank, size)
    except Exception:
        if _held is not None:
            os.close(_held)  # which ends that mpirun
            _held = None
        raise
    if rank == 0:
        if folder is None:
            folder, _held = _launch(size)
        store.set("shoal/folder", folder)
    else:
        folder = store.get("shoal/folder").decode()
        _held = _hold(folder)
    identity = _take_identity(folder, rank, min(deadline, time.monotonic() + 60))
    before = {name: os.environ.get(name) for name in identity}
    os.environ.update(identity, SHOAL_TORCH_OWN_START="1")
    try:
        _start_mpi()
    finally:
        # An mpirun that this process starts is another.
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
