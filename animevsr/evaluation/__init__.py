"""How good a result is: metrics and tables, the page of comparison and its votes, the check of a result, the
atlas of a codebook.
"""

import basicsr  # noqa: F401  (first: with it all that registers itself is imported, in order)

from animevsr.evaluation.codebook_atlas import atlas
from animevsr.evaluation.comparison import compare
from animevsr.evaluation.evaluator import evaluate
from animevsr.evaluation.preview import preview
from animevsr.evaluation.verifier import verify

__all__ = ['atlas', 'compare', 'evaluate', 'preview', 'verify']
