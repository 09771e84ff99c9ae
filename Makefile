# Every target works from a fresh clone; each makes .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test bench chaos fuzz fuzz-parsers fuzz-native lint format clean

# The sources of the compiled executor, which is built anew when one of them changed.
NATIVE := $(filter-out %/executor.c,$(wildcard $(addprefix src/subregion/blocks/native/,*.pyx *.pxd *.[ch])))

$(VENV)/.%-installed: pyproject.toml setup.py $(NATIVE)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@sh tools/headers.sh
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	touch $@

demo: $(VENV)/.demo-installed
	$(BIN)/subregion demo

# Bytecode is kept even where the environment says otherwise: tests start hundreds of processes.
test: export PYTHONDONTWRITEBYTECODE =
test: $(VENV)/.test-installed lint
	$(BIN)/python -m pytest -n 2 --dist worksteal $(PYTEST_ARGS)

# Ten minutes; CHAOS_ARGS="--short" takes one, "--only fork --seed 7" repeats a part, "--help" tells the rest.
CHAOS_ARGS ?=
chaos: $(VENV)/.test-installed
	PYTHONPATH=tests $(BIN)/python -m chaos $(CHAOS_ARGS)

# 20,000 damaged files, some six minutes; FUZZ_ARGS="--count 1000 --only tiff" takes fewer, "--help" tells the rest.
FUZZ_ARGS ?=
fuzz: $(VENV)/.test-installed
	PYTHONPATH=tests $(BIN)/python -m fuzz $(FUZZ_ARGS)

# Parsers in Python, one minute for each, by atheris.
fuzz-parsers: $(VENV)/.fuzz-installed
	PYTHONPATH=tests $(BIN)/python -m fuzz.guided $(FUZZ_ARGS)

# Decoders of the compiled executor under sanitizers; FUZZ_ARGS="--guided 1800" is half an hour of libFuzzer.
fuzz-native: $(VENV)/.test-installed
	PYTHONPATH=tests $(BIN)/python -m fuzz.native $(FUZZ_ARGS)

lint: $(VENV)/.test-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.test-installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# A few minutes; BENCH_ARGS="" measures in full, and `python -m benchmarks` writes that into docs/ too.
BENCH_ARGS ?= --quick
bench: $(VENV)/.bench-installed
	$(BIN)/subregion bench $(BENCH_ARGS) --output benchmarks/output

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
