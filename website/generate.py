"""Run by `mkdocs build` (its plugin gen-files): adds what `reference` makes to the pages in docs/."""

import sys
from pathlib import Path

import mkdocs_gen_files

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from website.reference import pages

for path, text in pages():
    with mkdocs_gen_files.open(path, "w", encoding="utf-8") as file:
        file.write(text)
