"""The machine underneath: checks of arguments, devices, processes, random numbers, files, provenance."""
