"""Measure in full, keep the results here, and write docs/benchmarks.md: ``python -m benchmarks``.

Arguments are those of `subregion bench`; with ``--results benchmarks/results/results.json`` the page is only
laid out anew.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from subregion.cli.main import app

HERE = Path(__file__).parent
RESULTS, DOCS = HERE / "results", HERE.parent / "docs"


def main() -> int:
    """Run the suite and put what it wrote into place."""
    with tempfile.TemporaryDirectory() as output:
        try:
            app(["bench", *sys.argv[1:], "--output", output], prog_name="subregion")
        except SystemExit as end:
            status = end.code
        made = Path(output)
        if (made / "results.json").exists():
            RESULTS.mkdir(exist_ok=True)
            shutil.copy(made / "results.json", RESULTS)
        if (made / "benchmarks.md").exists():
            shutil.copy(made / "benchmarks.md", DOCS)
            shutil.rmtree(DOCS / "benchmarks", ignore_errors=True)
            shutil.copytree(made / "benchmarks", DOCS / "benchmarks")
            print(f"The page is {DOCS / 'benchmarks.md'}")
    return int(status or 0)


if __name__ == "__main__":
    sys.exit(main())
