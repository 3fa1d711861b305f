# Data parallel with PyTorch's own DistributedDataParallel. On two ranks:
#
#     shoal run -n 2 -- python3 examples/torch_ddp.py
#
# with the folder python/ of the build in PYTHONPATH; torchrun or plain mpirun do as well.
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

import shoal_torch  # noqa: F401  (brings the backend "shoal")


def train(group, steps=10):
    """Losses of this rank, which learns y = sum(x) from its own numbers."""
    torch.manual_seed(0)  # all ranks start from the same model
    model = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.GELU(), torch.nn.Linear(256, 1))
    model = DistributedDataParallel(model, process_group=group)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    numbers = torch.Generator().manual_seed(1 + dist.get_rank())
    losses = []
    for _ in range(steps):
        x = torch.randn(32, 64, generator=numbers)
        loss = torch.nn.functional.mse_loss(model(x), x.sum(1, keepdim=True))
        optimizer.zero_grad()
        loss.backward()  # the gradients of all ranks are averaged as they come
        optimizer.step()
        losses.append(loss.item())
    return torch.tensor(losses)


dist.init_process_group("shoal")
losses = train(dist.group.WORLD)
with_gloo = train(dist.new_group(backend="gloo"))
assert torch.allclose(losses, with_gloo, rtol=1e-4), (losses, with_gloo)
assert losses[-1] < losses[0]
if dist.get_rank() == 0:
    print(f"{dist.get_world_size()} ranks: loss {losses[0]:.2f} to {losses[-1]:.2f}, as with Gloo")
dist.destroy_process_group()
