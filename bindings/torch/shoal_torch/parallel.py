"""Linear layers whose matrices are divided over the ranks of a process group, for any backend.

A column-parallel layer followed by a row-parallel one costs one all-reduce in the forward pass and one in
the backward pass (Shoeybi et al., Megatron-LM, 2019). The whole sizes need not be divisible: the first
ranks have one unit more.
"""
import torch
import torch.distributed as dist

__all__ = ["ColumnParallelLinear", "RowParallelLinear"]


def _part(count, group):
    """What this rank has of `count` units: a slice."""
    ranks, rank = dist.get_world_size(group), dist.get_rank(group)
    each, more = divmod(count, ranks)
    begin = rank * each + min(rank, more)
    return slice(begin, begin + each + (rank < more))


class _ColumnParallel(torch.autograd.Function):
    """x W^T + b with rows of W on each rank. The gradient of x is a sum over the ranks, which travels
    while that of W is computed."""

    @staticmethod
    def forward(ctx, x, weight, bias, group):
        ctx.save_for_backward(x, weight)
        ctx.group, ctx.biased = group, bias is not None
        return torch.nn.functional.linear(x, weight, bias)

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        work = grad_x = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            grad_x = grad @ weight
            work = dist.all_reduce(grad_x, group=ctx.group, async_op=True)
        rows = grad.reshape(-1, grad.shape[-1])
        if ctx.needs_input_grad[1]:
            grad_weight = rows.t() @ x.reshape(-1, x.shape[-1])
        if ctx.biased and ctx.needs_input_grad[2]:
            grad_bias = rows.sum(0)
        if work is not None:
            work.wait()
        return grad_x, grad_weight, grad_bias, None


class _SumOverRanks(torch.autograd.Function):
    """The sum of all ranks' tensors; everyone's gradient is that of the sum."""

    @staticmethod
    def forward(ctx, x, group):
        y = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(y, group=group)
        return y

    @staticmethod
    def backward(ctx, grad):
        return grad, None


class ColumnParallelLinear(torch.nn.Module):
    """Takes the whole input (..., in_features), the same on all ranks; gives this rank's part of the
    `out_features` outputs. `weight`: (part, in_features), `bias`: (part)."""

    def __init__(self, in_features, out_features, bias=True, group=None, device=None, dtype=None):
        super().__init__()
        self.group = group
        mine = _part(out_features, group)
        local = torch.nn.Linear(in_features, mine.stop - mine.start, bias, device, dtype)
        self.weight, self.bias = local.weight, local.bias

    @classmethod
    def part_of(cls, linear, group=None):
        """This rank's part of a torch.nn.Linear, copied."""
        made = cls(linear.in_features, linear.out_features, linear.bias is not None, group,
                   linear.weight.device, linear.weight.dtype)
        mine = _part(linear.out_features, group)
        with torch.no_grad():
            made.weight.copy_(linear.weight[mine])
            if linear.bias is not None:
                made.bias.copy_(linear.bias[mine])
        return made

    def forward(self, x):
        return _ColumnParallel.apply(x, self.weight, self.bias, self.group)


class RowParallelLinear(torch.nn.Module):
    """Takes this rank's part of the `in_features` inputs, as a ColumnParallelLinear gives it; gives the
    whole output (..., out_features), the same on all ranks. `weight`: (out_features, part); `bias`:
    (out_features), the same on all ranks."""

    def __init__(self, in_features, out_features, bias=True, group=None, device=None, dtype=None):
        super().__init__()
        self.group = group
        mine = _part(in_features, group)
        local = torch.nn.Linear(mine.stop - mine.start, out_features, bias, device, dtype)
        self.weight, self.bias = local.weight, local.bias
        if bias:
            dist.broadcast(self.bias.data, dist.get_global_rank(group, 0) if group else 0, group=group)

    @classmethod
    def part_of(cls, linear, group=None):
        """This rank's part of a torch.nn.Linear, copied."""
        made = cls(linear.in_features, linear.out_features, linear.bias is not None, group,
                   linear.weight.device, linear.weight.dtype)
        with torch.no_grad():
            made.weight.copy_(linear.weight[:, _part(linear.in_features, group)])
            if linear.bias is not None:
                made.bias.copy_(linear.bias)
        return made

    def forward(self, x):
        y = _SumOverRanks.apply(torch.nn.functional.linear(x, self.weight), self.group)
        return y if self.bias is None else y + self.bias
