"""The GPT that `shoal bench train` and `shoal bench layer` time, as plain PyTorch: norms and products without
biases, GELU in its tanh form, no dropout, the output layer tied to the token embedding."""
import math

import torch
from torch.nn import functional as F

# Of bench/train_configs.cpp: vocabulary, sequence, layers, heads, width, batch. The last is what a person
# with a GPU would choose.
CONFIGS = {
    "nano": (65, 64, 4, 4, 128, 12),
    "gpt2": (50304, 64, 12, 12, 768, 4),
    "gpt2-512": (50304, 512, 12, 12, 768, 4),
    "gpt2-1024": (50304, 1024, 12, 12, 768, 16),
}


def attention(q, k, v):
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # PyTorch 1
    future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
    return scores.masked_fill(future, -math.inf).softmax(dim=-1) @ v


class Norm(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(width))

    def forward(self, x):
        return F.layer_norm(x, self.weight.shape, self.weight, None, 1e-5)


class Block(torch.nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = Norm(width), Norm(width)
        self.qkv = torch.nn.Linear(width, 3 * width, bias=False)
        self.out = torch.nn.Linear(width, width, bias=False)
        self.up = torch.nn.Linear(width, 4 * width, bias=False)
        self.down = torch.nn.Linear(4 * width, width, bias=False)

    def forward(self, x):
        batch, time, width = x.shape
        q, k, v = (each.view(batch, time, self.heads, -1).transpose(1, 2)
                   for each in self.qkv(self.norm_1(x)).split(width, dim=2))
        y = attention(q, k, v)
        x = x + self.out(y.transpose(1, 2).reshape(batch, time, width))
        return x + self.down(F.gelu(self.up(self.norm_2(x)), approximate="tanh"))


class Gpt(torch.nn.Module):
    def __init__(self, vocabulary, sequence, layers, heads, width):
        super().__init__()
        self.tokens = torch.nn.Embedding(vocabulary, width)
        self.positions = torch.nn.Embedding(sequence, width)
        self.blocks = torch.nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = Norm(width)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                deep = name.endswith(("out.weight", "down.weight"))
                torch.nn.init.normal_(weight, std=0.02 / (math.sqrt(2 * layers) if deep else 1))

    def forward(self, tokens, targets):
        x = self.tokens(tokens) + self.positions.weight[:tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.tokens.weight)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1))


def training_flops_per_token(model, sequence, layers, width):
    """Of the products, forward and backward, as `shoal bench train` counts them."""
    weights = sum(p.numel() for p in model.parameters()) - sequence * width
    return 6 * weights + 12 * layers * width * sequence
