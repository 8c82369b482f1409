"""The rows of ``make matrix``, where they run, and their page."""
