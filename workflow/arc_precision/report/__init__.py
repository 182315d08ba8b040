"""The comparison report, in two steps: files under results/ become one typed `report.json`, and that becomes a page.

results.py, runs.py, task_scores.py     find and read the files
curves.py, ladder.py, factors.py, causes.py, collapses.py, kept_completions.py, cards.py     a section of the page each
verdict.py, notes.py, changes.py     the sentences on top, and warnings
intervals.py     every interval and difference
origins.py     what ran, on what, for how long
schema.py     the shape of report.json; build.py puts it together
tables.py, written_numbers.py, page.py     report.json to CSV, words and HTML
"""
