# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""Puts the figures of a run of ``bench.py`` into the documentation, between two marks.

report.py RESULTS.json docs/performance.md
"""

from __future__ import annotations

import pathlib
import sys
import typing as t

import figures

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def report(records: t.Sequence[figures.Record], goals: t.Sequence[figures.Goal], facts: t.Mapping[str, t.Any]) -> str:
    """Goals, all medians, and what they were measured on, as Markdown."""
    return "\n\n".join(
        [
            figures.markdown(figures.GOALS_HEADER, figures.verdicts(records, goals)),
            figures.markdown(figures.HEADER, figures.rows(records)),
            "Measured with: " + "; ".join(f"{name} {said}" for name, said in facts.items()) + ".",
        ]
    )


def filled(document: str, text: str) -> str:
    """Raises ValueError without the marks."""
    before, begin, rest = document.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document has no {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def main() -> None:
    results, path = map(pathlib.Path, sys.argv[1:])
    path.write_text(filled(path.read_text(), report(*figures.read(results))))


if __name__ == "__main__":
    main()
