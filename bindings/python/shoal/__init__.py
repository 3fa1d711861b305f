"""Shoal from Python: collectives on numpy arrays and on torch tensors, in place and without a copy.

    import numpy as np
    import shoal

    with shoal.Runtime() as runtime:
        x = np.ones(1000, dtype=np.float32)
        runtime.world.all_reduce(x)

Started by mpirun or `shoal run -n 4 -- python3 script.py`. Arrays are contiguous, on the CPU, and of the
types float32, float64, float16, bfloat16 (torch), int8, int32 and int64. `shoal.linear` has matrix products
divided over ranks. A process that uses shoal_torch has its Runtime there, and cannot have another.
"""
import atexit
import ctypes
import sys

from ._library import OUT, Error, PeerError, UsageError, call, raw

__all__ = ["Communicator", "Error", "Mesh", "PeerError", "Runtime", "UsageError", "Work", "shared_array"]
__version__ = raw("version")().decode()

_TYPES = {"float32": 0, "float64": 1, "bfloat16": 2, "float16": 3, "int8": 4, "int32": 5, "int64": 6}
_OPS = {"sum": 0, "min": 1, "max": 2, "prod": 3, "avg": 4}


def _parts_of(array, what):
    """Address, number of elements and type of an array or tensor."""
    name = str(getattr(array, "dtype", type(array))).removeprefix("torch.")
    if name not in _TYPES:
        raise UsageError(f"{what}: cannot take elements of type {name}; convert to one of {', '.join(_TYPES)}")
    if hasattr(array, "data_ptr"):
        if array.device.type != "cpu":
            raise UsageError(f"{what}: the tensor is on {array.device}; move it to the CPU")
        dense, address, count = array.is_contiguous(), array.data_ptr(), array.numel()
    else:
        dense, address, count = array.flags.c_contiguous, array.ctypes.data, array.size
    if not dense:
        raise UsageError(f"{what}: the array is not contiguous; pass a contiguous copy")
    return address, count, _TYPES[name]


def _writable(array, what):
    if not hasattr(array, "data_ptr") and not array.flags.writeable:
        raise UsageError(f"{what}: the array is read-only")
    return _parts_of(array, what)


def _op_of(op):
    if op not in _OPS:
        raise UsageError(f"unknown operation '{op}'; use one of {', '.join(_OPS)}")
    return _OPS[op]


def _made(name, *arguments):
    handle = ctypes.c_void_p()
    call(name, *arguments, ctypes.cast(ctypes.byref(handle), OUT))
    return handle


class Work:
    """A collective under way: its arrays belong to it until it is done."""

    def __init__(self, handle, arrays):
        self._handle, self._arrays = handle, arrays

    def wait(self):
        """Returns when it is done; raises if it failed."""
        if self._handle:
            try:
                call("wait", self._handle)
            finally:
                self._free()

    def test(self):
        """True once it is done."""
        if not self._handle:
            return True
        done = ctypes.c_int()
        try:
            call("test", self._handle, ctypes.byref(done))
        except Error:
            self._free()
            raise
        if done.value:
            self._free()
        return bool(done.value)

    def _free(self):
        raw("work_free")(self._handle)
        self._handle = self._arrays = None

    def __del__(self):
        if getattr(self, "_handle", None):
            self._free()


class Communicator:
    """Ranks that talk to each other. Collectives are called by all of them, in the same order. Those with
    `wait=False` return a Work and go on meanwhile."""

    def __init__(self, handle, owner, owned=False):
        self._handle, self._owner, self._owned = handle, owner, owned
        self.rank, self.size = raw("rank")(handle), raw("size")(handle)
        self.name = raw("name")(handle).decode()

    def __del__(self):
        if getattr(self, "_owned", False) and _alive():
            raw("comm_free")(self._handle)

    def split(self, colour, key=0, name="part"):
        """New groups, one for each colour, ordered by (key, rank)."""
        made = _made("split", self._handle, colour, key, name.encode())
        return Communicator(made, self._owner, owned=True)

    def _do(self, name, wait, arrays, *arguments):
        if wait:
            call(name, self._handle, *arguments)
            return None
        return Work(_made("start_" + name, self._handle, *arguments), arrays)

    def _counts(self, counts):
        if len(counts) != self.size:
            raise UsageError(f"{len(counts)} counts for {self.size} ranks; pass one a rank")
        return (ctypes.c_int64 * self.size)(*counts)

    def _even(self, count, what):
        if count % self.size:
            raise UsageError(f"{what}: {count} elements do not divide by {self.size} ranks; pass counts")
        return [count // self.size] * self.size

    def _alike(self, what, a, b):
        if a[2] != b[2]:
            raise UsageError(f"{what}: input and output are of different types")

    def _require(self, what, array, count):
        if array[1] != count:
            raise UsageError(f"{what}: the array has {array[1]} elements, not {count}")

    def all_reduce(self, array, op="sum", out=None, wait=True):
        """Every rank gets the reduction of all ranks' arrays: in place, or in `out`."""
        source = _parts_of(array, "all_reduce")
        target = _writable(array if out is None else out, "all_reduce")
        self._alike("all_reduce", source, target)
        self._require("all_reduce", target, source[1])
        return self._do("all_reduce", wait, (array, out), source[0], target[0], source[1], source[2], _op_of(op))

    def reduce_scatter(self, array, out, op="sum", counts=None, wait=True):
        """Rank r gets the r-th part of the reduction; `counts`: elements of each, equal if not given."""
        source, target = _parts_of(array, "reduce_scatter"), _writable(out, "reduce_scatter")
        self._alike("reduce_scatter", source, target)
        counts = list(counts) if counts is not None else self._even(source[1], "reduce_scatter")
        numbers = self._counts(counts)
        self._require("reduce_scatter", source, sum(counts))
        self._require("reduce_scatter", target, counts[self.rank])
        return self._do("reduce_scatter", wait, (array, out), source[0], target[0], numbers, source[2], _op_of(op))

    def all_gather(self, array, out, counts=None, wait=True):
        """Every rank gets all ranks' arrays, one after the other."""
        source, target = _parts_of(array, "all_gather"), _writable(out, "all_gather")
        self._alike("all_gather", source, target)
        counts = list(counts) if counts is not None else [source[1]] * self.size
        numbers = self._counts(counts)
        self._require("all_gather", source, counts[self.rank])
        self._require("all_gather", target, sum(counts))
        return self._do("all_gather", wait, (array, out), source[0], target[0], numbers, source[2])

    def broadcast(self, array, root=0, wait=True):
        """Every rank gets the root's."""
        target = _writable(array, "broadcast")
        return self._do("broadcast", wait, (array,), target[0], target[1], target[2], root)

    def all_to_all(self, array, out, send_counts=None, receive_counts=None, wait=True):
        """Every rank has a part for every rank."""
        source, target = _parts_of(array, "all_to_all"), _writable(out, "all_to_all")
        self._alike("all_to_all", source, target)
        sent = list(send_counts) if send_counts is not None else self._even(source[1], "all_to_all")
        received = list(receive_counts) if receive_counts is not None else self._even(target[1], "all_to_all")
        numbers = self._counts(sent), self._counts(received)
        self._require("all_to_all", source, sum(sent))
        self._require("all_to_all", target, sum(received))
        return self._do("all_to_all", wait, (array, out), source[0], numbers[0], target[0], numbers[1], source[2])

    def barrier(self, wait=True):
        """Nobody leaves before everybody has come."""
        return self._do("barrier", wait, ())

    def send(self, array, to, tag=0):
        """Returns when the array may be changed."""
        source = _parts_of(array, "send")
        call("send", self._handle, *source, to, tag)

    def receive(self, array, source, tag=0):
        """From rank `source`, an array of this length."""
        target = _writable(array, "receive")
        call("receive", self._handle, *target, source, tag)


class Mesh:
    """Ranks in named axes: Mesh(world, "dp=2,tp=4").axis("tp")."""

    def __init__(self, communicator, shape):
        self._parent = communicator
        self._handle = _made("mesh_create", communicator._handle, shape.encode())

    def axis(self, name):
        """The ranks that differ from this one only along it; this one alone if there is none."""
        return Communicator(_made("mesh_axis", self._handle, name.encode()), self)

    def __del__(self):
        if getattr(self, "_handle", None) and _alive():
            raw("mesh_free")(self._handle)


_runtime = None


def _alive():
    return _runtime is not None


class Runtime:
    """The process's membership in the run. One at a time. If an exception leaves the `with`, or ends the
    program, the whole run ends, since the other ranks would wait for ever."""

    def __init__(self):
        global _runtime
        call("init")
        _runtime = self
        atexit.register(self._at_exit)
        self.world = Communicator(_made("world"), self)

    def close(self):
        """Leaves in order, together with the others. The communicators of this Runtime are of no use then."""
        global _runtime
        if _runtime is self:
            call("finalize")
            _runtime = None
            atexit.unregister(self._at_exit)

    def _at_exit(self):
        if hasattr(sys, "last_value"):
            sys.stderr.flush()
            raw("abort")(1)
        self.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        if kind is None:
            self.close()
        return False  # at the end of the program, unless somebody handles it


class _Shared:
    """Memory of the library that numpy sees."""

    def __init__(self, shape, dtype, size):
        self._handle = _made("buffer_create", size, 1)
        self.__array_interface__ = {"version": 3, "shape": shape, "typestr": dtype.str,
                                    "data": (raw("buffer_data")(self._handle), False)}

    def __del__(self):
        if getattr(self, "_handle", None) and _alive():
            raw("buffer_free")(self._handle)


def shared_array(shape, dtype="float32"):
    """A numpy array of zeros where all ranks of the node see it: collectives on such arrays copy nothing.
    Not to be used after its Runtime."""
    import numpy
    dtype = numpy.dtype(dtype)
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    size = dtype.itemsize
    for length in shape:
        size *= length
    return numpy.asarray(_Shared(shape, dtype, max(size, 1)))
