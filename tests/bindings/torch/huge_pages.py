"""A large buffer that is summed again gets huge pages; others, and such systems as want none, are left alone."""
import mmap
import os
import time

import torch
import torch.distributed as dist
import shoal_torch  # noqa: F401


def mapped(elements):
    """A tensor at the beginning of a mapping of its own that nobody has advised."""
    memory = mmap.mmap(-1, 4 * elements, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(memory, dtype=torch.float32)


def advised(address):
    inside = False
    with open("/proc/self/smaps") as maps:
        for line in maps:
            first = line.split()[0]
            if "-" in first and not first.endswith(":"):
                begin, end = (int(part, 16) for part in first.split("-"))
                inside = begin <= address < end
            elif inside and first == "VmFlags:":
                return "hg" in line.split()
    raise AssertionError(f"no mapping holds {address:#x}")


def system_allows():
    try:
        with open("/sys/kernel/mm/transparent_hugepage/enabled") as file:
            return "[never]" not in file.read()
    except OSError:
        return False


def middle(tensor):
    return tensor.data_ptr() + tensor.numel() * tensor.element_size() // 2


def check(rank, large, small, in_background):
    seed = int.from_bytes(os.urandom(4), "little")
    for turn in range(4):
        for tensor in (large, small):
            base = torch.randint(-1000, 1000, (tensor.numel(),),
                                 generator=torch.Generator().manual_seed(seed), dtype=torch.int32).float()
            tensor.copy_(base)
            offset = tensor[::4099].clone()
            work = dist.all_reduce(tensor, async_op=True)
            if in_background:
                while not work.is_completed():
                    time.sleep(0.001)
            work.wait()
            # The ranks' inputs differ: sums of small integers are exact in any order.
            total = offset.clone()
            dist.all_reduce(total)
            assert torch.equal(tensor[::4099], total), f"rank {rank}, turn {turn}, seed {seed}"
        if turn == 0:
            assert not advised(middle(large)), "a buffer that came once was advised"
        else:
            assert advised(middle(large)) == system_allows(), f"turn {turn}"
        assert not advised(middle(small)), "a small buffer was advised"


def main():
    dist.init_process_group("shoal")
    # All at once, and so at different addresses: what has been seen is told apart by these.
    tensors = [(mapped(5 << 20), mapped(1 << 18)) for _ in range(2)]  # 20 MiB and 1 MiB
    for (large, small), in_background in zip(tensors, (False, True)):
        check(dist.get_rank(), large, small, in_background)
    dist.destroy_process_group()


main()
