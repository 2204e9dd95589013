"""``zerog notebooks``, and in a wheel the notebooks themselves, as the text that jupytext makes them of.

In the repository they stand in ``notebooks/`` at the top; building a wheel puts their ``.py`` files beside this one.
"""
