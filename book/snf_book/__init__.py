"""Support of the chapters: figures with sliders, tables, checks, measured numbers, exercises, prior work."""
