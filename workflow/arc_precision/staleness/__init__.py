"""Staleness: the dependencies of a job, the jobs that would run now, and the reasons."""
