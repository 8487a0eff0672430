"""Pages that the code itself is the source of: commands, systems, charts, the manifest's schema, the database's tables.

`pages` is what `mkdocs build` is given beside the files in docs/.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Table
from typer.main import get_command

from harness.cli import app
from harness.submission.manifest import Manifest
from harness_leaderboard.models import Base
from website.charts import charts
from website.systems import systems

SCHEMA = "reference/manifest.schema.json"


def pages() -> Iterator[tuple[str, str]]:
    """Each page's path in the site, and its text."""
    schema = manifest_schema()
    yield "reference/commands.md", commands()
    yield "reference/manifest.md", manifest(schema)
    yield SCHEMA, json.dumps(schema, indent=2) + "\n"
    yield "reference/database.md", database()
    yield "reference/options.md", systems()
    yield "reference/charts.md", charts()


# ---- commands -------------------------------------------------------------------------------------------


def commands() -> str:
    """Every command with its arguments and options, as `--help` has them, by Typer's own writer."""
    writer = [sys.executable, "-m", "typer", "harness.cli", "utils", "docs", "--name", "harness"]
    written = subprocess.run(writer, capture_output=True, text=True, check=True).stdout  # noqa: S603
    _, rest = written.split("\n", 1)
    # What every command has is said once.
    rest = re.sub(r"^\* `--(help|traceback)`: .*\n", "", rest, flags=re.MULTILINE)
    rest = re.sub(r"\*\*Options\*\*:\n\n(?=\n|\Z|#)", "", rest)
    rest = re.sub(r"\bdocs/([\w/-]+\.md)\b", r"[\1](../\1)", rest)
    rest = "\n".join(_linked(rest.splitlines()))
    return (
        "# Commands\n\n"
        "What `harness COMMAND --help` says, on one page. Every command has `--help`, and `--traceback` to show where "
        "an error arose. [Exit codes](exit-codes.md) and [environment variables](environment.md) are pages, too.\n"
        + rest
        + "\n"
    )


def _linked(lines: Iterable[str]) -> Iterator[str]:
    """Lists of commands, whose summaries Typer cuts off, with whole ones, and links."""
    root: Any = get_command(app)
    path, group = "harness", root
    for line in lines:
        if heading := re.fullmatch(r"#+ `(harness[\w -]*)`", line):
            path, group = heading[1], root
            for name in path.split()[1:]:
                group = group.commands[name]
        entry = re.fullmatch(r"\* `([a-z-]+)`: .*", line)
        if entry and entry[1] in getattr(group, "commands", {}):
            summary = str(group.commands[entry[1]].help).split("\n\n")[0].replace("\n", " ")
            line = f"* [`{entry[1]}`](#{path.replace(' ', '-')}-{entry[1]}): {summary}"
        yield line


# ---- the manifest ---------------------------------------------------------------------------------------


def manifest_schema() -> dict[str, Any]:
    """JSON Schema of `submission.json`, draft 2020-12."""
    schema = Manifest.model_json_schema(by_alias=True)
    for name, field in Manifest.model_fields.items():
        if field.exclude:  # the harness's own, in memory
            del schema["properties"][name]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "submission.json",
        "description": "The manifest of a submission.",
    }


def manifest(schema: dict[str, Any]) -> str:
    """The manifest's keys as tables."""
    required = set(schema["required"])
    lines = [
        "# The manifest",
        "",
        "`submission.json` lies in every submission and says what made it. The harness writes it; whoever submits "
        "without the harness writes the seven keys that are required. The page on submissions explains [what each key "
        "means](submission.md#the-manifest). This page gives the exact schema, which is also available as "
        f"[JSON Schema]({SCHEMA.rsplit('/', 1)[-1]}). Any other key is refused.",
        "",
        *_keys(schema, required),
    ]
    for name, part in sorted(schema.get("$defs", {}).items()):
        lines += ["", f"## {name}", ""]
        summary = _paragraph(part.get("description", ""))
        lines += [summary, ""] if summary else []
        if "properties" in part:
            lines += _keys(part, set(part.get("required", ())))
        else:
            lines += [_form(part)]
    return "\n".join(lines) + "\n"


def _keys(part: dict[str, Any], required: set[str]) -> list[str]:
    rows = ["| key | form | |", "|---|---|---|"]
    for name, form in part["properties"].items():
        default = form.get("default")
        left_out = (
            "**required**"
            if name in required
            else ""
            if default in (None, "", {}, [])
            else f"default `{json.dumps(default)}`"
        )
        words = " ".join(form.get("description", "").split())
        rows.append(f"| `{name}` | {_form(form)} | {'. '.join(filter(None, [left_out, words]))} |")
    return rows


def _form(form: dict[str, Any]) -> str:
    """A JSON Schema in words."""
    if "$ref" in form:
        name = form["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in form:
        return " or ".join(dict.fromkeys(_form(each) for each in form["anyOf"]))
    if "const" in form:
        return f"`{json.dumps(form['const'])}`"
    if "enum" in form:
        return ", ".join(f"`{json.dumps(each)}`" for each in form["enum"])
    kind = form.get("type", "anything")
    if kind == "object":
        values = form.get("additionalProperties")
        inside = f" of {_form(values)}" if isinstance(values, dict) else ""
        return f"object{inside}"
    if kind == "array":
        return f"list of {_form(form.get('items', {}))}"
    bounds = [
        f"{words} {form[key]:,}" if isinstance(form[key], int) else f"{words} {form[key]:g}"
        for key, words in (
            ("minimum", "from"),
            ("exclusiveMinimum", "above"),
            ("maximum", "to"),
            ("exclusiveMaximum", "below"),
        )
        if key in form
    ]
    if "minLength" in form or "maxLength" in form:
        bounds.append(f"{form.get('minLength', 0)} to {form['maxLength']:,} characters")
    if "pattern" in form:
        bounds.append("`" + form["pattern"].replace("|", "\\|") + "`")
    return f"{kind} ({', '.join(bounds)})" if bounds else str(kind)


# ---- the database ---------------------------------------------------------------------------------------


def database() -> str:
    """The leaderboard's tables as Markdown."""
    tables = Base.metadata.sorted_tables
    documented = {str(mapper.local_table): mapper.class_.__doc__ or "" for mapper in Base.registry.mappers}
    lines = [
        "# The database",
        "",
        "The leaderboard: SQLite or PostgreSQL, the same tables. Read it with [`harness.load_results`](python.md) "
        "rather than with SQL of your own: that checks every score against its checksum. Never write to it: what was "
        "changed outside the harness has no rank.",
        "",
        "Times are UTC, ISO 8601, as text; hashes are SHA-256, hexadecimal; scores are HAAQI, 0 to 1.",
    ]
    for table in tables:
        lines += ["", f"## {table.name}", "", _paragraph(documented[table.name]), "", *_columns(table)]
    return "\n".join(lines) + "\n"


def _paragraph(docstring: str) -> str:
    """The first paragraph of a docstring, on one line."""
    return docstring.strip().split("\n\n", 1)[0].replace("\n", " ")


def _columns(table: Table) -> list[str]:
    rows = ["| column | type | |", "|---|---|---|"]
    for column in table.columns:
        notes = ["primary key"] if column.primary_key else []
        notes += [
            f"[{key.column.table.name}](#{key.column.table.name}).{key.column.name}" for key in column.foreign_keys
        ]
        notes += [] if column.nullable else ["not null"] if not column.primary_key else []
        rows.append(f"| `{column.name}` | {str(column.type).lower()} | {', '.join(notes)} |")
    return rows
