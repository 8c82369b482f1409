"""Support of the chapters: figures with sliders, measured numbers, exercises, prior work."""
