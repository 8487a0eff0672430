"""Checksums of what is stored, so that a change which the harness did not make is found out when it is read.

- A score's is over all that it is a fact about (reference, file, evaluator, engine) and its values to the last bit;
  so is that of a check.
- A pair's is over the run, the scene and listener, and the file that the run has for them.
- A run's is over everything that it declares and the evaluation set that it is on.
- That of its sums is over their JSON text, that of a piece's costs, an earlier declaration, a line of the log or an
  environment over what it says.

They find damage and edits by hand. They are no signatures: there is no secret in them, so whoever wants to can compute
them. What a forged score is found out by is scoring the file again (`harness runs audit`).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any


def why_changed(run_id: int, changed: Sequence[str]) -> str:
    """What is wrong with a run of which somebody else wrote `changed` ("its sums", "3 scores"), and what to do."""
    what = " and ".join((", ".join(changed[:-1]), changed[-1]) if len(changed) > 1 else changed)
    were = "was" if len(changed) == 1 and changed[0] in _ONE else "were"
    return f"{what} {were} changed outside the harness: put that right with harness runs rescore {run_id}"


_ONE = ("its declaration", "1 file", "1 score", "1 check", "1 pair")


def of(*values: object) -> str:
    """Checksum of strings, numbers and None: 16 hexadecimal digits, the same on every machine.

    A float counts with all its bits: `ascii` writes the shortest text that reads back as the same number. Other types
    (bytes that a damaged file gave for a number) are no error; their checksum is just another one.
    """
    return hashlib.blake2b(ascii(values).encode(), digest_size=8).hexdigest()


def of_score(
    reference_sha256: object,
    file_sha256: object,
    fingerprint: object,
    engine: object,
    left: object,
    right: object,
    score: object,
    environment_sha256: object,
    scored_at: object,
    disputed_at: object,
    stem_scores: object = None,
    in_double: object = None,
    margin: object = None,
    closest: object = None,
) -> str:
    """Checksum of a score, see `records.NewScore` and `records.ScoreRecord`.

    Of stems and parts in double precision it covers the text that is stored (`stems`, `checks`).
    """
    how = (in_double, margin, closest)
    return of(
        *(reference_sha256, file_sha256, fingerprint, engine),
        *(left, right, score, environment_sha256, scored_at, disputed_at),
        # Left out where there are none: scores from before stems were scored keep their checksums.
        *(() if stem_scores is None else (stem_scores,)),
        # Likewise those from before the fast engine had two precisions. In brackets: never taken for that of stems.
        *(() if how == (None, None, None) else (how,)),
    )


def of_check(
    reference_sha256: object,
    file_sha256: object,
    fingerprint: object,
    part: object,
    by: object,
    score: object,
    fast: object,
    environment_sha256: object,
    checked_at: object,
) -> str:
    """Checksum of a check, see `checks`."""
    about = (reference_sha256, file_sha256, fingerprint, part, by)
    return of(*about, score, fast, environment_sha256, checked_at)


def of_pair(
    run_id: object,
    scene: object,
    listener: object,
    track: object,
    state: object,
    reason: object,
    file_sha256: object,
    clipped: object,
) -> str | None:
    """Checksum of where a pair stands in a run; None while nothing is known of it (it is pending)."""
    if state == "pending" and reason is None and file_sha256 is None and clipped is None:
        return None
    return of(run_id, scene, listener, track, state, reason, file_sha256, clipped)


def of_run(row: Mapping[str, Any]) -> str:
    """Checksum of a run, from a row of `rows.statuses`."""
    told = {name: row[name] for name in row if name not in NOT_TOLD}
    told |= {name: canonical(told[name]) for name in JSON_OF_RUN}
    return of(*sorted(told.items(), key=itemgetter(0)))


JSON_OF_RUN = ("run_settings", "run_causality", "run_load")
"""Columns of `rows.statuses` that are JSON values."""


NOT_TOLD = ("run_checksum", "run_evaluation_set_id", "run_evaluator_id", "set_id")
"""Columns of `rows.statuses` that are numbers of other rows; what those rows say is told instead."""


def of_summary(run_id: int, fingerprint: str | None, summary: str) -> str:
    """Checksum of a run's sums under the evaluator of that fingerprint, from their JSON text."""
    return of(run_id, fingerprint, summary)


def of_cost(run_id: int, piece: object, wall_seconds: object, cpu_seconds: object, peak_bytes: object) -> str:
    """Checksum of what a piece of music cost a system."""
    return of(run_id, piece, wall_seconds, cpu_seconds, peak_bytes)


def of_environment(sha256: object, details: object) -> str:
    """Checksum of an environment."""
    return of(sha256, canonical(details))


def of_declaration(run_id: object, declared: object, replaced_at: object) -> str:
    """Checksum of what a run declared before."""
    return of(run_id, canonical(declared), replaced_at)


def of_event(run_id: object, at: object, what: object, why: object, details: object) -> str:
    """Checksum of a line of the log."""
    return of(run_id, at, what, why, canonical(details))


def canonical(value: object) -> str:
    """A JSON value as text that does not depend on the order of its keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
