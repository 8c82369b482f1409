"""A search among training schedules, of which the presets of ``reproduce`` take the best.

``python -m snf_book.schedules`` trains the candidates, ``study.read`` gives the record with what each came to.
"""
