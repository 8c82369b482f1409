"""Where the gap comes from: training with one difference from the exact gradient at a time, measured and recorded.

``python -m snf_book.beyond`` runs the study, ``study.read`` gives its record.
"""
