"""`python3 -m shoal_torch script.py ...` runs a script that knows nothing of Shoal: it finds the backend "shoal".

Under mpirun, `shoal run`, or `torchrun -m shoal_torch script.py ...`; or alone, if the script starts its ranks
itself, with torch.multiprocessing: these find the backend, too.
"""
import importlib
import multiprocessing.spawn
import os
import runpy
import sys


class _Backend:
    """Whoever reads a pickled one has imported the package."""

    def __reduce__(self):
        return importlib.import_module, (__package__,)


def _bring_to_spawned_processes():
    """A process that is spawned, or comes from a fork server, is a new Python that only imports the script: with
    what it reads first, what its parent prepared for it, it gets the backend."""
    prepare = multiprocessing.spawn.get_preparation_data

    def prepare_with_backend(name):
        return {**prepare(name), "backend": _Backend()}

    multiprocessing.spawn.get_preparation_data = prepare_with_backend


def _main():
    if len(sys.argv) < 2:
        sys.exit("usage: python3 -m shoal_torch SCRIPT [ARGUMENT...]")
    sys.argv = sys.argv[1:]
    if not os.path.isfile(sys.argv[0]):
        sys.exit(f"python3 -m shoal_torch: there is no script {sys.argv[0]}")
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))  # as python3 itself has it
    _bring_to_spawned_processes()
    runpy.run_path(sys.argv[0], run_name="__main__")


_main()
