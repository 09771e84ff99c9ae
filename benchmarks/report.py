"""What all benchmarks share: the account of a run, on the screen and as JSON."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """Say where the figures come from."""
    return {
        "processors": os.cpu_count(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "system": platform.system(),
        "date": time.strftime("%Y-%m-%d"),
    }


def publish(
    name: str, title: str, columns: Sequence[str], rows: Sequence[dict[str, Any]], **facts: Any
) -> None:
    """Print rows as a table and write them to ``results/<name>.json``.

    Parameters
    ----------
    name : str
        Of the benchmark.
    title : str
        Above the table.
    columns : sequence of str
        Which keys of the rows to print, in order.
    rows : sequence of dict
        One for each measurement.
    **facts
        What else to write down.
    """
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*(_shown(row[column]) for column in columns))
    Console().print(table)
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"{name}.json"
    document = {"machine": machine(), **facts, "rows": list(rows)}
    target.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"written to {target}")


def _shown(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
