"""What makes forks cheap: large pages for what all processes share, and processes that start where their worker is."""

import ctypes

_LARGE_PAGE = 2 << 20
_MADV_COLLAPSE = 25

_libc = ctypes.PyDLL(None)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def private_pieces() -> list[int]:
    """Addresses of all whole large pages in this process's own, writable memory."""
    pieces = []
    with open("/proc/self/maps") as file:
        for line in file:
            span, mode, _, _, _, *name = line.split()
            start, end = (int(address, 16) for address in span.split("-"))
            if mode == "rw-p" and name in ([], ["[heap]"]):
                pieces += range(-(-start // _LARGE_PAGE) * _LARGE_PAGE, end - _LARGE_PAGE + 1, _LARGE_PAGE)
    return pieces


def collapse(pieces: list[int]) -> None:
    """Make large pages of them: a fork then copies one entry for 512 pages. Kernels before 6.1 cannot, and no harm."""
    for address in pieces:
        _libc.madvise(address, _LARGE_PAGE, _MADV_COLLAPSE)


def current_core() -> int:
    return _libc.sched_getcpu()
