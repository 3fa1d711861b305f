"""libshoal_c, found and called: see shoal.h for what its functions do."""
import ctypes
import pathlib

__all__ = ["OUT", "call", "raw"]


class Error(RuntimeError):
    """What went wrong, and what to do, in one line."""


class UsageError(Error, ValueError):
    """An argument makes no sense."""


class PeerError(Error):
    """Another rank did not answer: call nothing collective any more."""


def _load():
    name, here = "libshoal_c.so.1", pathlib.Path(__file__).resolve().parent
    # As installed, and (this file being a link to the source tree) wherever the loader looks.
    places = [here.parents[2] / name]
    places += [pathlib.Path(__file__).parents[2] / "lib" / name]
    for place in places:
        if place.exists():
            return ctypes.CDLL(str(place))
    return ctypes.CDLL(name)


_lib = _load()
_pointer, _int, _long = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
_counts = ctypes.POINTER(_long)
OUT = ctypes.POINTER(ctypes.c_void_p)

_data = {
    "all_reduce": [_pointer, _pointer, _long, _int, _int],
    "reduce_scatter": [_pointer, _pointer, _counts, _int, _int],
    "all_gather": [_pointer, _pointer, _counts, _int],
    "broadcast": [_pointer, _long, _int, _int],
    "all_to_all": [_pointer, _counts, _pointer, _counts, _int],
    "barrier": [],
}
_functions = {
    "init": [], "finalize": [], "world": [OUT],
    "split": [_pointer, _int, _int, ctypes.c_char_p, OUT],
    "mesh_create": [_pointer, ctypes.c_char_p, OUT],
    "mesh_axis": [_pointer, ctypes.c_char_p, OUT],
    "buffer_create": [ctypes.c_size_t, _int, OUT],
    "send": [_pointer, _pointer, _long, _int, _int, _int],
    "receive": [_pointer, _pointer, _long, _int, _int, _int],
    "wait": [_pointer], "test": [_pointer, ctypes.POINTER(_int)],
    "column_linear": [_pointer] + [_long] * 3 + [_pointer] * 4 + [_int],
    "column_linear_backward": [_pointer] + [_long] * 3 + [_pointer] * 6 + [_int],
    "row_linear": [_pointer] + [_long] * 3 + [_pointer] * 4 + [_int],
    "row_linear_backward": [_pointer] + [_long] * 3 + [_pointer] * 6 + [_int],
}
for _name, _arguments in _data.items():
    _functions[_name] = [_pointer] + _arguments
    _functions["start_" + _name] = [_pointer] + _arguments + [OUT]
for _name, _arguments in _functions.items():
    getattr(_lib, "shoal_" + _name).argtypes = _arguments
_lib.shoal_last_error.restype = ctypes.c_char_p
_lib.shoal_version.restype = ctypes.c_char_p
for _name in ("rank", "size", "node_count"):
    getattr(_lib, "shoal_" + _name).argtypes = [_pointer]
_lib.shoal_name.argtypes, _lib.shoal_name.restype = [_pointer], ctypes.c_char_p
_lib.shoal_buffer_data.argtypes, _lib.shoal_buffer_data.restype = [_pointer], _pointer
for _name in ("comm", "mesh", "buffer", "work"):
    getattr(_lib, f"shoal_{_name}_free").argtypes = [_pointer]
    getattr(_lib, f"shoal_{_name}_free").restype = None
_lib.shoal_abort.argtypes, _lib.shoal_abort.restype = [_int], None

if _lib.shoal_abi() != 1:
    raise ImportError(f"libshoal_c has ABI {_lib.shoal_abi()}, this module is for 1: install both of one release")


def raw(name):
    """A function that cannot fail."""
    return getattr(_lib, "shoal_" + name)


def call(name, *arguments):
    """A function that can: raises what it says. Other threads of Python go on meanwhile."""
    code = getattr(_lib, "shoal_" + name)(*arguments)
    if code == 0:
        return
    text = _lib.shoal_last_error().decode(errors="replace")
    raise {2: UsageError, 3: PeerError}.get(code, Error)(text)
