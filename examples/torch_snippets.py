"""The pieces of the guide's page on PyTorch. `shoal run -n 2 -- python3 examples/torch_snippets.py`"""
import torch.distributed as dist
import shoal_torch

dist.init_process_group("shoal")

import torch

shoal_torch.share_tensors()
x = torch.ones(1 << 20)  # lies where all ranks of the node see it
dist.all_reduce(x)
assert x.eq(dist.get_world_size()).all()
dist.destroy_process_group()
