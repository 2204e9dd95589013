"""How costs grow, for ``make bench ARGS=scale``: what is measured at which sizes, and the pictures made of it.

Modules: ``base`` (a curve, its ratios and its exponent), ``calls``, ``crowds``, ``receipts``, ``plot`` (SVG).
"""
