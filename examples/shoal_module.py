"""The pieces of the guide's page on the module shoal, for two ranks."""
import numpy as np
import shoal

with shoal.Runtime() as runtime:
    tp = shoal.Mesh(runtime.world, "dp=1,tp=2").axis("tp")
    x = np.ones(1000, dtype=np.float32)
    work = tp.all_reduce(x, wait=False)
    work.wait()
    assert (x == 2).all()
    if tp.rank == 0:
        print("all as the guide says")
