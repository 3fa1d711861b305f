#!/usr/bin/env python3
"""Runs the workloads of `shoal bench` in PyTorch on a GPU, and writes what a plan needs to know of it.

    python3 bench/reference/gpu.py --out gpu
    shoal plan --model gpt2 --cluster gpu/cluster.json --global-batch 16 --context 1024
    shoal equal --device gpu/cluster.json --node rpi5 --model gpt2 --context 1024

OUT then holds gpu.json, in the form of `shoal bench --json`; device.json, a device profile; and
cluster.json, a cluster of this one device. Every figure is the median of runs after a warm-up, on fresh
random numbers, products checked against fp64. With --device cpu it measures the processor through PyTorch
instead.
"""
import argparse
import contextlib
import datetime
import json
import math
import os
import platform
import statistics
import sys
import time

import torch

import gpt

# Of bench/kernels.cpp, and what fills a GPU.
SHAPES = [(512, 512, 512), (1024, 1024, 1024), (2048, 2048, 2048), (4096, 4096, 4096), (8192, 8192, 8192),
          (256, 2304, 768), (256, 3072, 768), (256, 768, 3072),
          (1, 4096, 4096), (2, 4096, 4096), (4, 4096, 4096), (8, 4096, 4096), (16, 4096, 4096)]
TYPES = ["fp32", "tf32", "bf16", "fp8", "int8"]


class Machine:
    """The device and how to time on it."""

    def __init__(self, name, seconds):
        self.device = torch.device(name)
        self.is_gpu = self.device.type == "cuda"
        self.seconds = seconds  # of measuring, for each figure
        if self.is_gpu:
            properties = torch.cuda.get_device_properties(self.device)
            self.name, self.units = properties.name, properties.multi_processor_count
            self.memory, self.cache = properties.total_memory, getattr(properties, "L2_cache_size", 1 << 26)
        else:
            self.name, self.units = platform.processor() or platform.machine(), torch.get_num_threads()
            self.memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
            self.cache = 1 << 26

    def wait(self):
        if self.is_gpu:
            torch.cuda.synchronize(self.device)

    def once(self, calls):
        """Seconds of each of these calls, one after the other on the device."""
        if not self.is_gpu:
            times = []
            for call in calls:
                start = time.perf_counter()
                call()
                times.append(time.perf_counter() - start)
            return times
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(len(calls) + 1)]
        marks[0].record()
        for call, mark in zip(calls, marks[1:]):
            call()
            mark.record()
        self.wait()
        return [a.elapsed_time(b) * 1e-3 for a, b in zip(marks, marks[1:])]

    def median_recorded(self, calls):
        """Seconds of a call: on a GPU of a row of them that was recorded, so that starting each costs nothing."""
        if not self.is_gpu:
            turn = iter(range(1 << 30))
            return self.median(lambda: calls[next(turn) % len(calls)]())
        stream = torch.cuda.Stream(self.device)
        with torch.cuda.stream(stream):
            for call in calls:
                call()
        self.wait()
        row = calls * max(1, 20 // len(calls))
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            for call in row:
                call()
        return self.median(graph.replay) / len(row)

    def median(self, call):
        """Seconds of a call: the median of runs that together last about self.seconds."""
        for _ in range(3):
            call()
        first = max(self.once([call])[0], 1e-6)
        count = max(5, min(200, int(self.seconds / first)))
        return statistics.median(self.once([call] * count))


def product_of(kind, a, b):
    """A function that multiplies a [m x k] by b^T [k x n] in this type, and what it makes of the operands.
    Raises what PyTorch raises where the device has no such product."""
    if kind in ("fp32", "tf32"):
        return (lambda: torch.mm(a, b.t())), a, b
    if kind == "bf16":
        x, y = a.to(torch.bfloat16), b.to(torch.bfloat16)
        return (lambda: torch.mm(x, y.t())), x, y
    if kind == "fp8":
        x, y = a.to(torch.float8_e4m3fn), b.to(torch.float8_e4m3fn)
        one = torch.ones((), device=a.device)

        def multiply():
            made = torch._scaled_mm(x, y.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16)
            return made[0] if isinstance(made, tuple) else made

        return multiply, x, y
    x, y = (a * 127).round().to(torch.int8), (b * 127).round().to(torch.int8)
    return (lambda: torch._int_mm(x, y.t())), x, y


def check_product(kind, shape, made, x, y):
    """The results' type rounds to `unit`, relative; and each of k partial sums of about sqrt(k) products in
    [-1, 1] is rounded to fp32, which together leaves sqrt(k) units of it."""
    m, n, k = shape
    rows, cols = range(0, m, max(1, m // 16)), range(0, n, max(1, n // 16))
    exact = x[list(rows)].to(torch.float64) @ y[list(cols)].to(torch.float64).t()
    got = made[list(rows)][:, list(cols)].to(torch.float64)
    scale = exact.abs().clamp(min=float((x.to(torch.float64)[:1].abs().max() ** 2)) * math.sqrt(k))
    unit = {"fp32": 2.0**-23, "tf32": 2.0**-9, "bf16": 2.0**-8, "fp8": 2.0**-8, "int8": 0.0}[kind]
    # Hopper's matrix units keep sums of fp8 products to 14 bits (DeepSeek-AI 2024, section 3.3.2), which loses up to
    # 2^-13 with each 32 of k; PyTorch moves them to fp32 after four of these.
    kept = 2.0**-11 if kind == "fp8" else 0.0
    allowed = 0.0 if kind == "int8" else unit + kept + 2.0**-23 * math.sqrt(k)
    worst = float(((got - exact).abs() / scale).max())
    if not worst <= allowed:
        sys.exit(f"gpu.py: the {kind} product {m}x{n}x{k} is off by {worst:.2e}, {allowed:.2e} is allowed")


def time_product(machine, kind, shape):
    """Median seconds, or None where PyTorch has no such product here."""
    m, n, k = shape
    # Several operands where one pair would stay in the cache.
    size = (m * k + n * k) * (1 if kind in ("fp8", "int8") else 2 if kind == "bf16" else 4)
    pairs = max(1, min(16, math.ceil(3 * machine.cache / size)))
    try:
        with tf32(kind == "tf32"):
            calls = []
            for _ in range(pairs):
                a = torch.rand(m, k, device=machine.device) * 2 - 1
                b = torch.rand(n, k, device=machine.device) * 2 - 1
                call, x, y = product_of(kind, a, b)
                check_product(kind, shape, call(), x, y)
                calls.append(call)
            return machine.median_recorded(calls)
    except torch.cuda.OutOfMemoryError:
        raise
    except (RuntimeError, AttributeError, NotImplementedError, ValueError):
        return None


def memory_rate(machine, quick):
    """Bytes a second, read and written, of a large copy."""
    count = (1 << 26 if quick else 1 << 30) // 4
    x = torch.rand(count, device=machine.device)
    y = torch.empty_like(x)
    return 8 * count / machine.median(lambda: y.copy_(x))


def launch_gap(machine):
    """Seconds of an operation that does next to nothing, in a row of them that each wait for the last."""
    x = torch.zeros(16, device=machine.device)

    def chain():
        for _ in range(200):
            x.add_(1)

    return machine.median(chain) / 200


def recorded_gap(machine):
    """The same where the row was recorded, so that the processor does not start each."""
    x = torch.zeros(16, device=machine.device)
    return machine.median_recorded([lambda: x.add_(1)])


@contextlib.contextmanager
def tf32(allowed):
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False


def bf16(machine, kind):
    return torch.autocast(machine.device.type, torch.bfloat16, enabled=kind == "bf16")


def prepared(module, compiled):
    if not compiled:
        return module
    torch._dynamo.reset()
    return torch.compile(module)


def time_layer(machine, kind, width, heads, batch, sequence, compiled):
    """Forward and backward of one block: median seconds and FLOPs."""
    block = gpt.Block(width, heads).to(machine.device)
    run = prepared(block, compiled)
    x = torch.randn(batch, sequence, width, device=machine.device, requires_grad=True)
    dy = torch.randn(batch, sequence, width, device=machine.device)

    def step():
        block.zero_grad(set_to_none=False)
        x.grad = None
        with bf16(machine, kind):
            y = run(x)
        y.backward(dy)

    weights = sum(p.numel() for p in block.parameters() if p.dim() == 2)
    tokens = batch * sequence
    with tf32(kind == "tf32"):
        return machine.median(step), tokens * (6 * weights + 12 * width * sequence)


def time_training(machine, kind, config, compiled):
    """A step with AdamW: median seconds, FLOPs, tokens."""
    vocabulary, sequence, layers, heads, width, batch = gpt.CONFIGS[config]
    torch.manual_seed(1337)
    model = gpt.Gpt(vocabulary, sequence, layers, heads, width).to(machine.device)
    run = prepared(model, compiled)
    more = {"fused": True} if machine.is_gpu else {}
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-4, betas=(0.9, 0.95), weight_decay=0.1, **more)
    ids = torch.randint(vocabulary, (batch, sequence + 1), device=machine.device)
    x, y = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
    first = []

    def step():
        with bf16(machine, kind):
            loss = run(x, y)
        if not first:
            first.append(loss.item())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    with tf32(kind == "tf32"):
        seconds = machine.median(step)
    if not abs(first[0] - math.log(vocabulary)) < 0.5:
        sys.exit(f"gpu.py: the first loss of {config} is {first[0]:.3f}, that of guessing "
                 f"{math.log(vocabulary):.3f}")
    tokens = batch * sequence
    return seconds, tokens * gpt.training_flops_per_token(model, sequence, layers, width), tokens


def depth_fit(machine, kind, quick):
    """Rate of endless products and the inner extent at which half of it is reached: for exactly as many tiles
    as fill the device several times, time is proportional to k + half_depth (least squares)."""
    rows, cols = (128, 256) if machine.is_gpu else (64, 64)
    m, n = rows * machine.units, cols * (4 if quick else 16)
    depths = [64, 128, 256, 512] if quick else [64, 128, 256, 512, 1024, 2048, 4096]
    points = [(k, time_product(machine, kind, (m, n, k))) for k in depths]
    points = [(k, t) for k, t in points if t is not None]
    if len(points) < 3:
        return None
    # Relative errors count: the short ones as much as the long.
    best = None
    for step in range(0, 1025, 4):
        ratios = [t / (k + step) for k, t in points]
        slope = statistics.geometric_mean(ratios)
        error = sum(math.log(r / slope) ** 2 for r in ratios)
        if best is None or error < best[0]:
            best = (error, step, slope)
    return 2 * m * n / best[2], best[1]


def measure(machine, quick, layers_compiled):
    results, peaks = [], {}

    def add(op, shape, kind, seconds, flops, **more):
        row = {"op": op, "shape": shape, "ranks": 1, "algorithm": more.pop("algorithm", "PyTorch"),
               "median_us": seconds * 1e6, "peer": None, "peer_us": None, "bound_us": None,
               "gflops": flops / seconds * 1e-9, "dtype": kind, **more}
        results.append(row)
        print(f"{op:6} {shape:>16} {kind:5} {row['algorithm']:16} {seconds * 1e6:12.1f} us "
              f"{row['gflops']:12.1f} GFLOP/s", flush=True)

    bytes_per_second = memory_rate(machine, quick)
    print(f"memory: {bytes_per_second * 1e-9:.1f} GB/s copied, read and written", flush=True)
    for kind in TYPES if machine.is_gpu else [each for each in TYPES if each != "tf32"]:
        for shape in SHAPES[:2] + SHAPES[5:9] if quick else SHAPES:
            m, n, k = shape
            seconds = time_product(machine, kind, shape)
            if seconds is None:
                continue
            add("gemm", f"{m}x{n}x{k}", kind, seconds, 2 * m * n * k)
            peaks[kind] = max(peaks.get(kind, 0), 2 * m * n * k / seconds)
    fits = {kind: depth_fit(machine, kind, quick) for kind in peaks}
    modes = [("PyTorch", False)] + ([("PyTorch compiled", True)] if layers_compiled else [])
    for kind in ("fp32", "bf16") if not machine.is_gpu else ("fp32", "tf32", "bf16"):
        for width, heads in [(768, 12)] if quick else [(768, 12), (2048, 16)]:
            for label, compiled in modes:
                seconds, flops = time_layer(machine, kind, width, heads, 4, 64 if quick else 512, compiled)
                add("layer", str(width), kind, seconds, flops, algorithm=label)
        for config in ["nano"] if quick else gpt.CONFIGS:
            for label, compiled in modes:
                seconds, flops, tokens = time_training(machine, kind, config, compiled)
                add("train", config, kind, seconds, flops, algorithm=label, tokens_per_s=tokens / seconds)
    return results, peaks, fits, bytes_per_second


def profiles(machine, peaks, fits, bytes_per_second, gap, source):
    def measured(value):
        return [value, "A", source]

    # Rates that products reach, so that the shares of them that are reached are 1.
    flops = {}
    for kind, peak in peaks.items():
        if kind != "tf32":
            flops[kind] = measured(max(peak, fits[kind][0] if fits[kind] else 0))
    depths = {kind: measured(fits[kind][1]) for kind in flops if fits.get(kind)}
    name = "-".join(machine.name.lower().split()) + "-measured"
    device = {
        "kind": "device", "name": name, "flops": flops,
        "memory_bytes": measured(machine.memory),
        "memory_bytes_per_second": measured(bytes_per_second),
        "matrix_efficiency": [1, "A", "the rates are those reached: " + source],
        "memory_efficiency": [1, "A", "the rate is that reached: " + source],
        "units": measured(machine.units),
        "tile_rows": [128 if machine.is_gpu else 64, "E", "tile of the large products in libraries"],
        "tile_cols": [256 if machine.is_gpu else 64, "E", "tile of the large products in libraries"],
        "half_depth": depths or measured(0),
        "launch_seconds": measured(gap),
    }
    inner = {key: value for key, value in device.items() if key != "kind"}
    cluster = {
        "kind": "cluster", "name": name, "device": inner, "devices_per_node": 1, "nodes": 1,
        "levels": [{"name": "none", "form": "links",
                    "latency_seconds": [1e-6, "E", "one device: not used"],
                    "bytes_per_second": [1e9, "E", "one device: not used"],
                    "efficiency": [1, "E", "one device: not used"],
                    "overhead_seconds": [0, "E", "one device: not used"]}],
        "software": "megatron-core",
    }
    return device, cluster


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results, made if missing")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, cpu (default: cuda)")
    parser.add_argument("--quick", action="store_true", help="the small workloads only")
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile")
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit("gpu.py: PyTorch sees no GPU; look at nvidia-smi, or choose --device cpu")
    os.makedirs(options.out, exist_ok=True)
    machine = Machine(options.device, 0.1 if options.quick else 0.5)
    print(f"{machine.name}: {machine.units} units, PyTorch {torch.__version__}", flush=True)
    gaps = {"each started": launch_gap(machine)}
    if machine.is_gpu:
        gaps["recorded"] = recorded_gap(machine)
    for how, gap in gaps.items():
        print(f"an operation on nothing, {how}: {gap * 1e6:.2f} us", flush=True)
    results, peaks, fits, rate = measure(machine, options.quick,
                                          hasattr(torch, "compile") and not options.no_compile)
    today = datetime.datetime.now(datetime.timezone.utc)
    source = f"measured by bench/reference/gpu.py on {today:%Y-%m-%d} with PyTorch {torch.__version__}"
    device, cluster = profiles(machine, peaks, fits, rate, min(gaps.values()), source)
    report = {"machine": {"host": platform.node(), "processor": machine.name, "memory_bytes": machine.memory},
              "versions": {"torch": torch.__version__, "cuda": torch.version.cuda, "python": platform.python_version()},
              "date": f"{today:%Y-%m-%dT%H:%M:%SZ}", "ranks": 1,
              "memory_bytes_per_second": rate, "launch_seconds": gaps,
              "depth": {kind: fit and {"flops": fit[0], "half_depth": fit[1]} for kind, fit in fits.items()},
              "results": results}
    for name, what in (("gpu", report), ("device", device), ("cluster", cluster)):
        with open(os.path.join(options.out, name + ".json"), "w", encoding="utf-8") as file:
            json.dump(what, file, indent=2)
            file.write("\n")
    print(f"wrote gpu.json, device.json and cluster.json in {options.out}")


if __name__ == "__main__":
    main()
