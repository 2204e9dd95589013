"""`make notebooks`: run them all and write their outputs, the table of docs/comparing.md and its picture.

python -m tests.notebooks [NAME…]
"""

from __future__ import annotations

import base64
import re
import sys

import jupytext

from tests.notebooks.running import FIGURE, NAMES, NOTEBOOKS, ROOT, execute, output_of, problems

TABLE = re.compile(r"(<!-- summary of notebooks/02 -->\n)(.*?)\n<!-- end -->", re.DOTALL)


def main() -> None:
    """Run and write."""
    for name in sys.argv[1:] or NAMES:
        notebook = execute(name)
        if found := problems(notebook):
            sys.exit(f"{name} shows what may not be committed: {'; '.join(found)}")
        jupytext.write(notebook, NOTEBOOKS / f"{name}.ipynb")
        print(name)  # noqa: T201 - says how far it is
        if name == "02_compare_providers":
            FIGURE.write_bytes(base64.b64decode(output_of(notebook, "figure", "image/png")))
            readme = ROOT / "docs/comparing.md"
            table = output_of(notebook, "summary", "text/markdown")
            text = readme.read_text(encoding="utf-8")
            start, end = TABLE.search(text).span(2)
            readme.write_text(text[:start] + table + text[end:], encoding="utf-8")


main()
