"""Run all benchmarks, the large conversion in its small form: ``python -m benchmarks``."""

from benchmarks import aligned, conversion, opening, regions

opening.main([])
regions.main([])
aligned.main([])
conversion.main(["--small"])
