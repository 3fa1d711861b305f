"""The largest eigenvalue of a matrix whose rows are divided over all ranks, by power iteration."""
import math

import numpy as np
import shoal

n = 1000


def rows_of(rank, size):
    """How many rows a rank has; the first ranks have one more where they do not divide."""
    return n // size + (rank < n % size)


def main():
    with shoal.Runtime() as runtime:
        world = runtime.world
        counts = [rows_of(rank, world.size) for rank in range(world.size)]
        begin = sum(counts[:world.rank])

        # This rank's rows of A(i, j) = min(i, j) + 1.
        i = np.arange(begin, begin + counts[world.rank])[:, None]
        a = np.minimum(i, np.arange(n)) + 1.0
        x = shoal.shared_array(n, "float64")  # whole on every rank
        x[:] = 1

        for _ in range(20):
            y = a @ x
            square = np.array([y @ y])
            world.all_reduce(square)
            norm = math.sqrt(square[0])
            world.all_gather(y / norm, x, counts)

        if world.rank == 0:
            print(f"{world.size} ranks: the largest eigenvalue is {norm:.4f}")


if __name__ == "__main__":
    main()
