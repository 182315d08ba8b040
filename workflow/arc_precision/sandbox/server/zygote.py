"""Forks a process for each program, and does nothing else.

It never reads a job or a result, so it holds nothing of a program that a later one could find. Its memory is the same
at every fork, so no program can tell which others ran before it or beside it.
"""

import mmap
import os
import resource

import descriptors
import forks
import isolation
import program

REHEARSALS = 20
_CHANNEL, _JOB = 3, 4  # descriptors that follow the null device's


def serve(channel: int, null: int, area: mmap.mmap, layout: forks.Layout, limits: dict) -> None:
    """Fork whenever a byte comes through the channel, until the worker at its other end is gone."""
    isolation.die_with_parent()
    for standard in range(3):
        os.dup2(null, standard)
    os.dup2(channel, _CHANNEL)
    os.closerange(_JOB, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    forks.collapse(layout.pieces)
    try:
        isolation.hide_clocks(layout.clock_page)
    except OSError:
        pass  # then a program can still find the time below the functions of `time`
    rehearse()
    descriptors.receive(_CHANNEL)
    for kind, value in (
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, limits["descriptors"]),
        (resource.RLIMIT_AS, limits["own_memory_bytes"] + (limits["memory_mb"] << 20)),
    ):
        isolation.set_limit(kind, value)
    if limits["landlock"]:
        isolation.restrict_with_landlock()
    if limits["filtered"]:
        isolation.filter_system_calls(more_filters=limits["forbid_forks"])
    if isolation.fork_at_each_byte(_CHANNEL, siblings=True):
        program.main(_CHANNEL, _JOB, area, limits)


def rehearse() -> None:
    """Fork processes that do nothing, until the interpreter has optimised this code: it rewrites code that runs
    often."""
    read_fd, write_fd = os.pipe()
    os.write(write_fd, bytes(REHEARSALS))
    os.close(write_fd)
    if isolation.fork_at_each_byte(read_fd, siblings=True):
        os._exit(0)
    os.close(read_fd)
