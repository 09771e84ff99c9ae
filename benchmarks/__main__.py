"""Run all benchmarks, the large conversion in its small form: ``python -m benchmarks``."""

from benchmarks import conversion, opening, regions

opening.main([])
regions.main([])
conversion.main(["--small"])
