"""Whether this process may make memory executable. Asked before numba is imported: LLVM ends one that may not."""

import ctypes
import mmap
import sys


def may_execute() -> bool:
    """Try what a compiler does: write to memory of its own, then make it executable.

    Services can be forbidden to (MemoryDenyWriteExecute of systemd). Only Linux is asked: elsewhere nobody forbids it
    to a Python that was installed in the usual way.
    """
    if sys.platform != "linux":
        return True
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        memory = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        return bool(libc.mprotect(ctypes.c_void_p(address), mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC) == 0)
    except (OSError, AttributeError):
        return False
