"""`zerog serve`: an OpenAI-compatible server in front of the backends, its console, keys and metrics (extra `serve`).

What a call is, costs and proves is decided below (`zg_core.calls`); here only who may ask, and how answers are shown.
"""
