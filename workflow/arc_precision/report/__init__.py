"""The comparison report, in two steps: files under results/ become one typed `report.json`, and that becomes a page.

results.py   finds and reads the files        summary.py   runs, differences of configuration, warnings, what is
missing curves.py    training curves                  outcomes.py  evaluation: tables, paired differences, heat
map verdict.py   the sentences on top, from plain numbers schema.py    the shape of report.json         build.py
puts it together          page.py  report.json to HTML
"""
