"""Large pages for what all processes share, which make a fork cheaper: it copies one entry for 512 pages."""

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
    """Make large pages of them, where the kernel can (from Linux 6.1); where it cannot, forks are a little slower."""
    for address in pieces:
        _libc.madvise(address, _LARGE_PAGE, _MADV_COLLAPSE)
