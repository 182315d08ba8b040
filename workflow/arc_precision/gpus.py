"""GPUs of one machine, shared out among the jobs of one user.

Not covered: other programs and users on them.
"""

import fcntl
import os
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

WAIT_S = 1.0


def visible_gpus() -> list[str]:
    """The GPUs in CUDA_VISIBLE_DEVICES, or all GPUs of the machine by number.

    Raises ValueError if there is none.
    """
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [gpu for gpu in given.split(",") if gpu]
    try:
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True).stdout
    except FileNotFoundError:
        listed = ""
    n_gpus = sum(line.startswith("GPU ") for line in listed.splitlines())
    if not n_gpus:
        raise ValueError("device: cuda, but nvidia-smi shows no GPU on this machine; write device: cpu")
    return [str(i) for i in range(n_gpus)]


def claim(gpus: list[str], n: int, alone: bool) -> list[str]:
    """Wait for `n` of `gpus` and claim them until this process, or the command that replaces it, has ended.

    With `alone` the GPUs have no other claim of this user, now or later. Otherwise the GPUs with the fewest claims are
    chosen, and none that is claimed alone. There is no queue: a process that wants a GPU alone may wait long behind
    others that share.

    A claim is a lock on the GPU's file, exclusive or shared, and a lock on a file `GPU.SLOT` of its own, by which
    claims are counted. The kernel releases the locks of a process when it ends in any way.

    Raises ValueError if there are fewer than `n` GPUs.
    """
    if len(gpus) < n:
        raise ValueError(
            f"{n} GPUs are asked for, but {len(gpus)} can be seen; lower training.processes or resources.*.gpu"
        )
    folder = Path(tempfile.gettempdir()) / f"arc-precision-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    told = False
    while True:
        with open(folder / "choosing", "w") as choosing:
            fcntl.flock(choosing, fcntl.LOCK_EX)
            locks = [(gpu, _lock(folder / gpu, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)) for gpu in gpus]
            claims = [(*_take_slot(folder, gpu), lock, gpu) for gpu, lock in locks if lock is not None]
            claims.sort(key=lambda claim: claim[0])
            n_taken = n if len(claims) >= n else 0
            for i, (_, slot_lock, lock, _) in enumerate(claims):
                for file in (slot_lock, lock):
                    if i < n_taken:
                        os.set_inheritable(file, True)
                    else:
                        os.close(file)  # before another process counts
        if n_taken:
            return [gpu for *_, gpu in claims[:n]]
        if not told:
            print(f"waiting for {n} of GPUs {', '.join(gpus)}", file=sys.stderr, flush=True)
            told = True
        time.sleep(WAIT_S)


def _lock(path: Path, kind: int) -> int | None:
    """The locked file, or None where others hold a lock that excludes it."""
    file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file


def _take_slot(folder: Path, gpu: str) -> tuple[int, int]:
    """The number of commands that hold a GPU, and a locked slot of this process's own."""
    others, own = 0, None
    for slot in count():
        path = folder / f"{gpu}.{slot}"
        is_last = not path.exists()
        lock = _lock(path, fcntl.LOCK_EX)
        if lock is None:
            others += 1
        elif own is None:
            own = lock
        else:
            os.close(lock)
        if is_last:
            return others, own
