"""Run all benchmarks, the large conversion in its small form: ``python -m benchmarks``."""

from benchmarks import aligned, conversion, lazy, lossless, opening, regions

opening.main([])
regions.main([])
lossless.main([])
aligned.main([])
lazy.main([])
conversion.main(["--small"])
