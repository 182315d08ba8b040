"""The typed configuration, one module per section.

A stage imports the modules of its own sections and nothing else, so that a new key in one section leaves the
results of every other stage as they are. `experiment` is the root; the Snakefile alone imports it.
"""
