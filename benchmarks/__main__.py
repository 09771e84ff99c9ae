"""Run all benchmarks, the large conversion in its small form: ``python -m benchmarks``."""

from benchmarks import aligned, conversion, lazy, opening, regions

opening.main([])
regions.main([])
aligned.main([])
lazy.main([])
conversion.main(["--small"])
