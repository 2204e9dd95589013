"""``python -m zg_core.cli``."""

from zg_core.cli import main

if __name__ == "__main__":
    main()
