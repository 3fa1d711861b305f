"""one_fails.py raises|exits|killed: the last rank does, the others wait for it in vain, and the run ends."""
import os
import sys

import numpy as np

import shoal

runtime = shoal.Runtime()
world = runtime.world
world.barrier()
if world.rank == world.size - 1:
    if sys.argv[1] == "raises":
        raise ValueError("on purpose")
    if sys.argv[1] == "exits":
        os._exit(3)
    os.kill(os.getpid(), 9)
world.all_reduce(np.ones(1000))
