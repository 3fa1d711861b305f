"""Arrays of different sizes, through the module shoal: all ranks are told, by an exception, and none hangs. What
happens when nobody handles it: the run ends, and the exception is what is printed."""
import sys

import numpy as np

import shoal

with shoal.Runtime() as runtime:
    world = runtime.world
    x = np.ones(99 + (world.rank == 0), dtype=np.float32)
    try:
        world.all_reduce(x)
    except shoal.Error as error:
        assert "99" in str(error) and "100" in str(error), error
        sys.stdout.write("told\n")  # with its end at once, unbuffered too: others write meanwhile
        sys.stdout.flush()
        if sys.argv[1:] == ["handled"]:
            sys.exit(5)
        raise
