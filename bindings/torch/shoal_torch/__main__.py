"""`python3 -m shoal_torch script.py ...` runs a script that knows nothing of Shoal: it finds the backend "shoal".

Under mpirun, `shoal run`, or `torchrun -m shoal_torch script.py ...`.
"""
import os
import runpy
import sys

if len(sys.argv) < 2:
    sys.exit("usage: python3 -m shoal_torch SCRIPT [ARGUMENT...]")
sys.argv = sys.argv[1:]
if not os.path.isfile(sys.argv[0]):
    sys.exit(f"python3 -m shoal_torch: there is no script {sys.argv[0]}")
sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))  # as python3 itself has it
runpy.run_path(sys.argv[0], run_name="__main__")
