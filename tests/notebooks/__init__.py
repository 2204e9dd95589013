"""The notebooks: run on a local network, compared with what is committed. `python -m tests.notebooks` writes them."""
