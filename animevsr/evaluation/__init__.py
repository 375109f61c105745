"""How good a result is: metrics and tables, the page of comparison and its votes, the check of a result, the
atlas of a codebook.
"""
