"""Blocks of code on the pages: written, run, and their output put beside them.

    python -m website.blocks docs/tutorial.md      run a page's blocks, and write what they print into it

    ```python title="mine.py"      is written to that file, as any block with a title
    ```console                     lines after "$ " are run; what they print on standard output stands below them
    ```{.sh .run}                  every line is run, and what it prints is not shown
    ```sh                          is not run: it needs what is not here, a cluster or a delivery, say

Everything of a page happens in one empty folder, from top to bottom.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from website import environment

FENCE = re.compile(r"^(```+)(?P<info>[^\n`]*)\n(?P<body>.*?)^\1$", re.MULTILINE | re.DOTALL)
TITLE = re.compile(r'title="([^"]+)"')
COLUMNS = 96
"""Width of what is shown: it fits the pages."""


class BlockFailure(Exception):
    """A command on a page did not end with 0."""


@dataclass(frozen=True)
class Block:
    """A block of code: what stands after the fence, and what is in it."""

    info: str
    body: str

    @property
    def title(self) -> str | None:
        """The file that it is."""
        found = TITLE.search(self.info)
        return found[1] if found else None

    @property
    def language(self) -> str:
        """`console`, `sh`, `python` and so on; "" without one."""
        return re.split(r"[\s.}]+", self.info.strip().lstrip("{. "))[0]

    @property
    def commands(self) -> list[str]:
        """What a reader would type."""
        if self.language == "console":
            return [line[2:] for line in self.body.splitlines() if line.startswith("$ ")]
        if self.language == "sh":
            joined = re.sub(r"\\\n\s*", "", self.body)
            return [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]
        return []

    @property
    def is_run(self) -> bool:
        """Whether its commands are run."""
        return self.language == "console" or ".run" in self.info


def blocks(text: str) -> list[Block]:
    """All blocks of a page, in their order."""
    return [Block(found["info"], found["body"]) for found in FENCE.finditer(text)]


def run(text: str, folder: Path) -> str:
    """Run a page's blocks in a folder.

    Args:
        text: the page.
        folder: an empty one.

    Returns:
        The page with what its commands print now.

    Raises:
        BlockFailure: one does not end with 0.
    """

    def replaced(found: re.Match[str]) -> str:
        block = Block(found["info"], found["body"])
        if block.title:
            (folder / block.title).write_text(block.body, encoding="utf-8")
        if not block.is_run:
            return found[0]
        printed = [(command, _output(command, folder)) for command in block.commands]
        if block.language != "console":
            return found[0]
        body = "".join(f"$ {command}\n{output}" for command, output in printed)
        return f"{found[1]}{block.info}\n{body}{found[1]}"

    return FENCE.sub(replaced, text)


def _output(command: str, folder: Path) -> str:
    inherited = environment()
    path = f"{Path(sys.executable).parent}{os.pathsep}{inherited['PATH']}"
    done = subprocess.run(  # noqa: S603
        [shutil.which("bash") or "sh", "-c", command],
        cwd=folder,
        env={**inherited, "COLUMNS": str(COLUMNS), "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BlockFailure(f"$ {command}\nended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.strip("\n").splitlines())


VARYING = re.compile(r"\b\d+(\.\d+)?e-\d+\b|\b20\d\d-\d\d-\d\d\b|\b[0-9a-f]{12,64}\b|\b\d+(\.\d+)? (s|ms|MB|MiB|kB)\b")
"""What differs from machine to machine, and from day to day."""


def comparable(text: str) -> str:
    """A page without what varies, and without what follows from how wide that is."""
    return re.sub(r"[ ─]+", " ", VARYING.sub("…", text))


def main() -> None:
    """Write what the commands of these pages print into them."""
    for name in sys.argv[1:]:
        path = Path(name)
        text = path.read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory() as folder:
            try:
                written = run(text, Path(folder))
            except BlockFailure as failure:
                raise SystemExit(f"{path}: {failure}") from None
        # What varies from machine to machine is no news.
        if comparable(written) != comparable(text):
            path.write_text(written, encoding="utf-8")


if __name__ == "__main__":
    main()
