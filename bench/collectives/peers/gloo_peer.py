# Times one collective of Gloo, through PyTorch, as one rank of many. Rank 0 prints a line
# "BYTES SECONDS" for each size: the median over repetitions of the time of the slowest rank.
#
# gloo_peer.py RANK RANKS ADDRESS PORT OPERATION DTYPE OP SECONDS_A_SIZE BYTES...
import datetime
import statistics
import sys
import time

import torch
import torch.distributed as dist

rank, ranks = int(sys.argv[1]), int(sys.argv[2])
address, port = sys.argv[3], sys.argv[4]
operation, dtype, op = sys.argv[5:8]
budget = float(sys.argv[8])
sizes = [int(text) for text in sys.argv[9:]]
torch.set_num_threads(1)

types = {"f32": torch.float32, "f64": torch.float64, "bf16": torch.bfloat16, "f16": torch.float16,
         "i8": torch.int8, "i32": torch.int32, "i64": torch.int64}
ops = {"sum": dist.ReduceOp.SUM, "min": dist.ReduceOp.MIN, "max": dist.ReduceOp.MAX,
       "prod": dist.ReduceOp.PRODUCT}


def call_of(count):
    """The call to time, on tensors of its own."""
    each = max(1, count // ranks)
    kind = types[dtype]
    if operation == "all_reduce":
        data = torch.ones(max(1, count), dtype=kind)
        return lambda: dist.all_reduce(data, op=ops[op])  # in place: Gloo has no other
    if operation == "broadcast":
        data = torch.ones(max(1, count), dtype=kind)
        return lambda: dist.broadcast(data, 0)
    if operation == "all_gather":
        mine = torch.ones(each, dtype=kind)
        parts = [torch.empty(each, dtype=kind) for _ in range(ranks)]
        return lambda: dist.all_gather(parts, mine)
    if operation == "all_to_all":
        out, data = torch.empty(each * ranks, dtype=kind), torch.ones(each * ranks, dtype=kind)
        return lambda: dist.all_to_all_single(out, data)
    if operation == "barrier":
        return dist.barrier
    raise NotImplementedError(operation)


def slowest(seconds):
    value = torch.tensor([seconds], dtype=torch.float64)
    dist.all_reduce(value, op=dist.ReduceOp.MAX)
    return value.item()


def timed(call, times):
    dist.barrier()
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) / times


dist.init_process_group("gloo", init_method=f"tcp://{address}:{port}", rank=rank, world_size=ranks,
                        timeout=datetime.timedelta(seconds=60))
element = torch.empty(0, dtype=types[dtype]).element_size()
for size in sizes:
    call = call_of(size // element)
    call()
    once = max(slowest(timed(call, 2)), 1e-6)
    times = max(1, min(200, int(1e-4 / once)))
    repetitions = max(5, min(500, int(budget / (once * times))))
    measured = [slowest(timed(call, times)) for _ in range(repetitions)]
    if rank == 0:
        print(size, statistics.median(measured), flush=True)
dist.barrier()
