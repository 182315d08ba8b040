"""Collapse of a run: the functions that apply the rules of the configuration section `collapse`."""

from arc_precision.config.collapse import CollapseConfig as CollapseConfig
