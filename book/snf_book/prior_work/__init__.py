"""Prior work: the flows that came before, each trained on the same data, measured in the same way, and recorded.

``systems`` lists them, ``python -m snf_book.prior_work`` compares them, ``record.read`` gives what that found. Where a
published library has a flow and it is right, that is used (``libraries``; ``candidates`` checks them); the others are
written here by hand.
"""
