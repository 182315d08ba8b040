"""The bytes that pass between the caller, the server's workers and the programs' processes.

A job goes from the caller through a worker's socket to the process that runs the program. A record of the result goes
from that process through shared memory to the worker, and from there in a report to the caller. Nothing is pickled. All
numbers are little-endian.
"""

import struct

AREA_BYTES = 1 << 20  # shared memory for one record

# Statuses that a process can give its own program. Their position is the code on the wire.
RECORD_STATUSES = ("ok", "invalid_output", "exception", "memory", "forbidden", "timeout")

# Outcomes of the process as the worker saw them.
LEFT_RECORD, ENDED_WITHOUT_RECORD, STOPPED_BY_CPU, STOPPED_BY_WALL = range(4)

READY = b"r"  # a worker's first message
JOB_CAME, JOB_READ = b"c", b"r"  # messages of a program's process to its worker

LENGTH = struct.Struct("<I")
JOB = struct.Struct("<IH")  # bytes of program, grids; then the program in UTF-8 and the grids
GRID = struct.Struct("<HH")  # height, width; then height * width int8 cells
RECORD = struct.Struct("<BiHHH")  # status, line or -1, bytes of type, bytes of message, grids; then these three
# Outcome, wait status, CPU ns, KiB of memory at its peak beyond those at its start, bytes of record; then the record.
REPORT = struct.Struct("<BiQII")

# A program whose CPU time is within this share of its limit may be on either side of it by chance, and runs again.
CPU_MARGIN = 0.25

TYPE_BYTES, MESSAGE_BYTES = 100, 500  # longer exception types and messages are cut
