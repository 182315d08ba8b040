"""Collapse of a run: the functions that apply the rules of the configuration section `collapse`."""
