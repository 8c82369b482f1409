"""The commands of ``python -m snf_lite``: the options of each, and what it does with them."""
