# A block of two linear layers whose matrices are divided over the ranks: each has a part of the hidden
# units, and one all-reduce a pass puts the block's output together.
#
#     shoal run -n 2 -- python3 examples/torch_tensor_parallel.py
import torch
import torch.distributed as dist

from shoal_torch.parallel import ColumnParallelLinear, RowParallelLinear

dist.init_process_group("shoal")
size = dist.get_world_size()
width, hidden = 32, 24 * size

torch.manual_seed(0)  # the same whole matrices on all ranks, of which each takes its part
whole = torch.nn.Sequential(torch.nn.Linear(width, hidden), torch.nn.GELU(), torch.nn.Linear(hidden, width))
divided = torch.nn.Sequential(ColumnParallelLinear.part_of(whole[0]), torch.nn.GELU(),
                              RowParallelLinear.part_of(whole[2]))

x = torch.randn(8, width)
inputs = [x.clone().requires_grad_() for _ in range(2)]
outputs = [whole(inputs[0]), divided(inputs[1])]
for y in outputs:
    y.square().sum().backward()

# The same output and gradients, but that each rank has those of its own part.
mine = slice(dist.get_rank() * 24, (dist.get_rank() + 1) * 24)
close = dict(rtol=1e-4, atol=1e-4)
assert torch.allclose(outputs[0], outputs[1], **close)
assert torch.allclose(inputs[0].grad, inputs[1].grad, **close)
assert torch.allclose(whole[0].weight.grad[mine], divided[0].weight.grad, **close)
assert torch.allclose(whole[0].bias.grad[mine], divided[0].bias.grad, **close)
assert torch.allclose(whole[2].weight.grad[:, mine], divided[2].weight.grad, **close)
assert torch.allclose(whole[2].bias.grad, divided[2].bias.grad, **close)
if dist.get_rank() == 0:
    print(f"{size} ranks: the divided block is the whole one")
dist.destroy_process_group()
