"""The comparison report, in two steps: files under results/ become one typed `report.json`, and that becomes a page.

results.py    finds and reads the files
runs.py       runs, and the differences between their configurations
outcomes.py   evaluation: tables, paired differences, heat map
curves.py     training curves
verdict.py    the sentences on top, from plain numbers
notes.py      warnings and missing parts
build.py      assembles report.json, whose shape is in schema.py
page.py       report.json to HTML

Every other module computes one section of the page.
"""
