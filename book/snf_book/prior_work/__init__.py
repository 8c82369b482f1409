"""Prior work: earlier flows, each trained on the same data, measured in the same way, and recorded.

``systems`` lists them, ``python -m snf_book.prior_work`` compares them, ``record.read`` gives the results. A flow comes
from a published library if that passes ``verification``; the others are implemented in ``flows``.
"""
