"""Products with a matrix that is divided over ranks, for numpy and for torch's autograd; single precision.

`column_linear(comm, x, weight)`: this rank has rows of the whole W, x is whole, the result has this rank's
outputs. `row_linear`: this rank has columns of W and of x; the result is summed over the ranks. One after the
other they cost one all-reduce forward and one backward. With torch tensors they are differentiable.
"""
from . import UsageError, call

__all__ = ["column_linear", "row_linear"]

_PRECISIONS = {"f32": 0, "bf16": 1}


def _is_torch(array):
    return hasattr(array, "data_ptr")


def _address(array):
    if array is None:
        return None
    return array.data_ptr() if _is_torch(array) else array.ctypes.data


def _check(what, x, weight, bias, precision):
    for array in (x, weight) + (() if bias is None else (bias,)):
        if str(array.dtype).removeprefix("torch.") != "float32":
            raise UsageError(f"{what}: wants float32, got {array.dtype}")
        if not (array.is_contiguous() if _is_torch(array) else array.flags.c_contiguous):
            raise UsageError(f"{what}: an array is not contiguous")
        if _is_torch(array) and array.device.type != "cpu":
            raise UsageError(f"{what}: a tensor is on {array.device}")
    if weight.ndim != 2 or x.ndim < 1 or x.shape[-1] != weight.shape[1]:
        raise UsageError(f"{what}: x of {tuple(x.shape)} does not fit a weight of {tuple(weight.shape)}")
    if bias is not None and tuple(bias.shape) != (weight.shape[0],):
        raise UsageError(f"{what}: a bias of {tuple(bias.shape)} does not fit a weight of {tuple(weight.shape)}")
    if precision not in _PRECISIONS:
        raise UsageError(f"{what}: precision is one of {', '.join(_PRECISIONS)}")


def _rows(x):
    rows = 1
    for length in x.shape[:-1]:
        rows *= length
    return rows


def _forward(kind, comm, x, weight, bias, precision, empty):
    _check(kind, x, weight, bias, precision)
    y = empty(tuple(x.shape[:-1]) + (weight.shape[0],))
    # The sizes in the order of the C function: column (in, local_out), row (local_in, out).
    call(kind, comm._handle, _rows(x), weight.shape[1], weight.shape[0], _address(x), _address(weight),
         _address(bias), _address(y), _PRECISIONS[precision])
    return y


_functions = {}


def _function_of(kind):
    """The torch.autograd.Function, made when first wanted: numpy needs no torch."""
    if kind in _functions:
        return _functions[kind]
    import torch

    class Linear(torch.autograd.Function):
        @staticmethod
        def forward(ctx, comm, x, weight, bias, precision):
            ctx.save_for_backward(x, weight)
            ctx.comm, ctx.biased, ctx.precision = comm, bias is not None, precision
            return _forward(kind, comm, x, weight, bias, precision, x.new_empty)

        @staticmethod
        def backward(ctx, grad):
            x, weight = ctx.saved_tensors
            grad = grad.contiguous()
            # A column-parallel dx costs an all-reduce, which is left out where nobody wants it.
            wanted = kind == "row_linear" or ctx.needs_input_grad[1]
            dx = torch.empty_like(x) if wanted else None
            dweight = torch.empty_like(weight)
            dbias = weight.new_empty(weight.shape[0]) if ctx.biased else None
            call(kind + "_backward", ctx.comm._handle, _rows(x), weight.shape[1], weight.shape[0], _address(x),
                 _address(weight), _address(grad), _address(dx), _address(dweight), _address(dbias),
                 _PRECISIONS[ctx.precision])
            return None, dx, dweight, dbias, None

    _functions[kind] = Linear
    return Linear


def _linear(kind, comm, x, weight, bias, precision):
    if _is_torch(x):
        return _function_of(kind).apply(comm, x, weight, bias, precision)
    import numpy
    return _forward(kind, comm, x, weight, bias, precision, lambda shape: numpy.empty(shape, numpy.float32))


def column_linear(comm, x, weight, bias=None, precision="f32"):
    """x (..., in) times this rank's rows of W (local_out, in): (..., local_out)."""
    return _linear("column_linear", comm, x, weight, bias, precision)


def row_linear(comm, x, weight, bias=None, precision="f32"):
    """This rank's x (..., local_in) times its columns of W (out, local_in), summed: (..., out). The bias is
    the same on all ranks."""
    return _linear("row_linear", comm, x, weight, bias, precision)
