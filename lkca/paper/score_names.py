"""The names in a table of scores: whose rows are compared with which rows of the paper's tables.

Names match without regard to capitals, spaces, hyphens and underscores: "Pavia Center" is the scene pavia_centre.
"""

import re
from collections import defaultdict
from collections.abc import Iterable

from lkca.paper.claims.numbers import COMPARISON_TABLES
from lkca.paper.score_rules import Finding, Line

MAX_NAMES = 12  # names of rows that a finding lists


class PaperNames:
    """The names of scenes, tables and rows in the paper's tables.

    Args:
        paper: The rows of lkca/paper/paper_tables.csv.
    """

    def __init__(self, paper: Iterable[Line]) -> None:
        self.scenes: dict[str, str] = {}  # simplified name -> name
        self.tables: dict[str, str] = {}
        self.rows: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)  # table and scene -> names of rows
        self.scales: dict[tuple[str, str], set[str]] = defaultdict(set)
        for line in paper:
            key = line["table"], line["scene"]
            self.scenes[_simplify(line["scene"])] = line["scene"]
            self.tables[_simplify(line["table"])] = line["table"]
            self.rows[key][_simplify(line["row"])] = line["row"]
            self.scales[key].add(line["scale"])

    def match(self, line: Line) -> None:
        """Write the scene, the table and the row of a line as the paper does; keep what the paper does not have.

        A line without a table gets the table of the paper that compares all methods on its scene.
        """
        line["scene"] = self.scenes.get(_simplify(line["scene"]), line["scene"])
        table = line.get("table") or COMPARISON_TABLES.get(line["scene"], "")
        line["table"] = self.tables.get(_simplify(table).removeprefix("table"), table)
        rows = self.rows.get((line["table"], line["scene"]), {})
        line["row"] = rows.get(_simplify(line["row"]), line["row"])

    def find_skipped(self, lines: Iterable[Line]) -> list[Finding]:
        """Return which rows are not compared with the paper, and why."""
        reasons: dict[str, list[Line]] = defaultdict(list)
        for line in lines:
            if reason := self._find_reason(line):
                reasons[reason].append(line)
        return [Finding("skipped", f"{_list_rows(rows)}: {reason}.") for reason, rows in reasons.items()]

    def _find_reason(self, line: Line) -> str:
        """Return why a row is not compared with the paper, or is only in part; an empty string if it is."""
        table, scene = line["table"], line["scene"]
        if scene not in self.scenes.values():
            known = ", ".join(self.scenes.values())
            return f"nothing is compared with the paper, which has no scene {scene} ({known})"
        if (table, scene) not in self.rows:
            known = ", ".join(name for name, of_scene in self.rows if of_scene == scene)
            return (
                f"the claims are not checked, because the paper has no Table {table} on {scene} ({known}); leave the "
                "column table empty if it compares methods"
            )
        where = f"the paper's Table {table} on {scene}"
        if line["scale"] not in self.scales[table, scene]:
            known = ", ".join(f"x{scale}" for scale in sorted(self.scales[table, scene]))
            return f"claims and MACs are not compared, because {where} has no scale x{line['scale']} ({known})"
        if line["row"] not in (rows := self.rows[table, scene].values()):
            return f"claims and MACs are not compared, because {where} has no such rows ({', '.join(rows)})"
        return ""


def _simplify(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name.casefold()).replace("center", "centre")


def _list_rows(lines: list[Line]) -> str:
    names = list(dict.fromkeys(line["row"] for line in lines))
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f"{', '.join(names[:MAX_NAMES])}{more}"
