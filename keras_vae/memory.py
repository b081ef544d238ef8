"""Memory that one step frees is kept for the next one."""

import ctypes
import functools
import os

# The parameters of glibc's mallopt, and what they are set to.
KEPT = {
    -1: 256 * 2**20,  # M_TRIM_THRESHOLD: free memory beyond this goes back to the system
    -2: 16 * 2**20,  # M_TOP_PAD: what is asked for, and kept, beyond what is needed
    -3: 32 * 2**20,  # M_MMAP_THRESHOLD: larger blocks are the system's; the most that it takes
}


@functools.cache
def keep_freed_memory() -> None:
    """Lets the C library keep memory between steps, where it is glibc and nobody has tuned it.

    A step's tensors are of a megabyte or so. glibc gives such blocks back to the system when
    they are freed, and the next step faults them in again, page by page: 300 page faults a
    step on 784-400-20-400-784 (two cores, batch 128), none with this, and 1.14 to 1.28 times
    as many images a second. The price is what stays with the process: up to 256 MiB for each of
    glibc's arenas, of which threads that allocate at the same time have one each.
    """
    tuned = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    library = ctypes.CDLL(None) if os.name == "posix" else None
    if not tuned and library is not None and _is_glibc(library):
        for parameter, value in KEPT.items():
            library.mallopt(parameter, value)


def _is_glibc(library: ctypes.CDLL) -> bool:
    try:
        return bool(library.gnu_get_libc_version)
    except AttributeError:
        return False
