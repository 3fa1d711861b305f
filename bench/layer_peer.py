# Times a transformer block of GPT-2's form, forward and backward, in PyTorch: prints the median seconds.
#
# layer_peer.py WIDTH HEADS BATCH SEQUENCE fp32|bf16 THREADS SECONDS
import math
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional

width, heads, batch, sequence = (int(text) for text in sys.argv[1:5])
dtype, threads, budget = sys.argv[5], int(sys.argv[6]), float(sys.argv[7])
torch.set_num_threads(threads)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc, self.fc_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.later = torch.full((sequence, sequence), -math.inf).triu(1)

    def attention(self, x):
        q, k, v = self.qkv(x).view(batch, sequence, 3, heads, -1).permute(2, 0, 3, 1, 4)
        if hasattr(functional, "scaled_dot_product_attention"):
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = q @ k.transpose(-2, -1) / math.sqrt(width // heads) + self.later
            y = torch.softmax(scores, -1).to(v.dtype) @ v
        return self.proj(y.transpose(1, 2).reshape(batch, sequence, width))

    def forward(self, x):
        x = x + self.attention(self.ln1(x))
        return x + self.fc_proj(functional.gelu(self.fc(self.ln2(x)), approximate="tanh"))


block = Block()
x = torch.randn(batch, sequence, width, requires_grad=True)
dy = torch.randn(batch, sequence, width)


def step():
    for parameter in (x, *block.parameters()):
        parameter.grad = None
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bf16"):
        y = block(x)
    y.backward(dy.to(y.dtype))


def timed():
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


step()
times = [timed()]
while sum(times) < budget or len(times) < 5:
    times.append(timed())
print(statistics.median(times))
