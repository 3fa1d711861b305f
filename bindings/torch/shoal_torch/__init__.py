"""Shoal as a backend of torch.distributed:

    import shoal_torch
    torch.distributed.init_process_group("shoal")

Under mpirun, `shoal run`, torchrun, or any launcher that gives RANK, WORLD_SIZE and MASTER_ADDR.
"""
import torch
import torch.distributed as _dist

from . import _C, start

__all__ = ["share_tensors"]

_generation = 0


def share_tensors(at_least=1 << 20):
    """From here on, tensors of at least so many bytes lie where all ranks of the node see them: collectives
    on such tensors copy nothing. After init_process_group, before the tensors are made; the buckets of
    DistributedDataParallel are made with it. Children made by fork (the workers of a DataLoader) have
    such tensors in common with this process: what one writes there the other sees."""
    _C.share_tensors(at_least)


def _create_process_group(options, _backend_options=None):
    """What torch calls for a new group, on its members."""
    global _generation
    store, rank, size = options.store, options.group_rank, options.group_size
    timeout = options.timeout.total_seconds()
    ranks = list(options.global_ranks_in_group)
    if len(set(ranks)) < len(ranks):
        raise ValueError(f"shoal: a rank is named twice in a new group of {ranks}; name each once")
    is_default = not ranks
    if is_default:
        start.join(store, rank, size, timeout)
        _generation += 1
    elif not _C.alive():
        _join_by_first_group(store, rank, ranks, timeout)
    # Everybody is there before MPI is called, which would wait for ever.
    prefix = f"shoal/{_generation}"
    store.set(f"{prefix}/{rank}", str(_C.world_rank()))
    name = "world" if is_default else f"group {options.group_id}"
    members = [_member(store, f"{prefix}/{other}", other, name) for other in range(size)]
    return _C.make_group(members, name, timeout)


def _join_by_first_group(store, rank, ranks, timeout):
    """Where the default group is another backend's, the run begins with the first group that is Shoal's. Nobody
    can join it later."""
    world_size = _dist.get_world_size()
    if len(ranks) < world_size:
        raise ValueError(f"shoal: the first group of this backend has {len(ranks)} of the {world_size} ranks, and a "
                         'run begins with all of them; call init_process_group("shoal"), or make a group of all first')
    start.join(store, ranks[rank], world_size, timeout)


def _member(store, key, rank, group):
    try:
        return int(store.get(key))
    except RuntimeError as error:  # "Socket Timeout", "Connection reset by peer"
        raise RuntimeError(f"shoal: rank {rank} of {group} did not come to make it, or the store, in rank 0 of "
                           f"the run, is gone ({error}); see what the other ranks say") from error


# From 2.0 on a backend says which devices it is for; before, nobody asks.
_more = {} if torch.__version__.startswith("1.") else {"devices": ["cpu"]}
_dist.Backend.register_backend("shoal", _create_process_group, extended_api=True, **_more)
start.prepare_env()
