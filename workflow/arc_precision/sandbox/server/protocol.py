"""The bytes that pass between the caller, the server's workers and the programs' processes.

A job goes from the caller through a worker's socket to the process that runs the program; a record of what came of it
goes from that process through shared memory to the worker, and from there in a report to the caller. Nothing is
pickled. All numbers are little-endian.
"""

import struct

AREA_BYTES = 1 << 20  # shared memory for one record

# What a process can say of its own program. The order is the code on the wire.
RECORD_STATUSES = ("ok", "invalid_output", "exception", "memory", "forbidden", "timeout")

# What the worker saw of the process.
LEFT_RECORD, ENDED_WITHOUT_RECORD, STOPPED_BY_CPU, STOPPED_BY_WALL = range(4)

READY = b"r"  # the first thing that a worker sends
JOB_CAME, JOB_READ = b"c", b"r"  # what a program's process tells its worker

LENGTH = struct.Struct("<I")
JOB = struct.Struct("<IH")  # bytes of program, grids; then the program in UTF-8 and the grids
GRID = struct.Struct("<HH")  # height, width; then height * width int8 cells
RECORD = struct.Struct("<BiHHH")  # status, line or -1, bytes of type, bytes of message, grids; then all those
# Outcome, wait status, CPU ns, KiB of memory at its peak beyond those at its start, bytes of record; then the record.
REPORT = struct.Struct("<BiQII")

# A program whose CPU time is nearer to its limit than this share of it may be on either side by chance: run it again.
CPU_MARGIN = 0.25

TYPE_BYTES, MESSAGE_BYTES = 100, 500  # longer exception types and messages are cut
