"""What a check has found: problems, and remarks on what is unusual but can be worked with."""

from collections import Counter
from dataclasses import dataclass, field

from harness.errors import printable

MAX_OF_A_FILE = 1000
"""Problems, and remarks, that are kept of one file; those beyond are counted. A damaged file may hold a million."""

MAX_SHOWN = 60
"""Characters of a stranger's text or value that a message shows."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        file: path below the evaluation set's folder.
        entry: where in the file, e.g. "scene_10001, gain"; empty for the file as a whole.
        message: what is wrong, what is expected, and what to do where that is not plain.
        example: a right entry, where that helps; else empty.
        is_remark: whether the set can be worked with as it is.
    """

    file: str
    entry: str
    message: str
    example: str = ""
    is_remark: bool = False


@dataclass
class Findings:
    """All findings of a check, as they come.

    Attributes:
        problems, remarks: in the order of the files.
        left_off: how many more there are of each file.
    """

    problems: list[Finding] = field(default_factory=list)
    remarks: list[Finding] = field(default_factory=list)
    left_off: Counter[str] = field(default_factory=Counter)
    _kept: Counter[tuple[str, bool]] = field(default_factory=Counter)

    def add(self, finding: Finding) -> None:
        """Keep a finding, or count it where there are too many of its file."""
        of = finding.file, finding.is_remark
        if self._kept[of] >= MAX_OF_A_FILE:
            self.left_off[finding.file] += 1
            return
        self._kept[of] += 1
        (self.remarks if finding.is_remark else self.problems).append(finding)


@dataclass(frozen=True)
class Place:
    """Somewhere in a set: findings are made there.

    Attributes:
        findings: where they are kept.
        file: path below the evaluation set's folder.
        entry: where in the file; see `Finding`.
        example: a right entry of that file.
    """

    findings: Findings
    file: str
    entry: str = ""
    example: str = ""

    def at(self, *keys: object) -> "Place":
        """A place in this one: the entry of a key, or that key of an entry."""
        entry = ", ".join([self.entry, *(shown_text(str(key)) for key in keys)]).removeprefix(", ")
        return Place(self.findings, self.file, entry, self.example)

    def problem(self, message: str) -> None:
        """Note a problem."""
        self.findings.add(Finding(self.file, self.entry, message, self.example))

    def remark(self, message: str) -> None:
        """Note what is unusual."""
        self.findings.add(Finding(self.file, self.entry, message, is_remark=True))


def shown_text(text: str) -> str:
    """A stranger's text on one line: shortened, with escapes for what cannot be printed."""
    return printable(text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "...")


def quoted(text: str) -> str:
    """The same in quotation marks."""
    return f'"{shown_text(text)}"'


def some_of(names: list[str], count: int = 3) -> str:
    """The first few of many names: "a, b, c and 12 more"."""
    listed = ", ".join(shown_text(name) for name in names[:count])
    return listed if len(names) <= count else f"{listed} and {len(names) - count:,} more"
