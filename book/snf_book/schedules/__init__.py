"""A search among training schedules, in which that of the preset ``fast`` is held against others.

``python -m snf_book.schedules`` trains the candidates, ``study.read`` gives the record with what each came to.
"""
