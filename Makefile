# Every target makes its own environment in a fresh clone.
#   make demo    the main job, end to end          make test    all tests but the slow ones
#   make check   ruff, format, mypy --strict       make bench   the figures of docs/benchmarks.md
#   make dist    the wheel and the sdist, the same bytes from the same commit everywhere
#   make offline-kit  every wheel of a device, for sites without a network

PYTHON ?= python3
VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
READY := $(VENV)/ready
# torch is named with its version so that pip takes the build for the CPU.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-slow browser planted-faults hazards check format schemas support licences conformance-table
.PHONY: bench corpus full-size train dist offline-kit clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch==2.13.0
	$(INSTALL) -e ".[dev]"
	@touch $(READY)

demo: $(READY)
	$(BIN)/medsdk demo --out build/demo

# Two at a time, a file each; the hazards by themselves, since some measure what a core does.
test: $(READY) browser
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile --ignore=tests/hazards
	$(BIN)/python -m pytest -m "not slow" tests/hazards

# The report's page is looked at in a browser where one can be had; elsewhere those tests say so.
browser:
	-@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && { timeout 120 apt-get -qq update; DEBIAN_FRONTEND=noninteractive timeout 300 apt-get -qq install -y --no-install-recommends chromium fonts-ipafont-gothic; } >/dev/null 2>&1; } || true

# Faults planted on purpose, and the stage that caught each (docs/planted-faults.md).
planted-faults: $(READY)
	$(BIN)/python -m tests.planted_faults

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

# Every hazard of docs/support.md with what is installed, and what became of it.
hazards: $(READY)
	MEDSDK_RECORD_HAZARDS=1 $(BIN)/python -m pytest tests/hazards
	$(BIN)/python docs/upkeep/support.py

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python docs/upkeep/gates.py --check

format: $(READY)
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

schemas: $(READY)
	$(BIN)/python docs/schemas/generate.py

# The generated part of docs/support.md and all of docs/licences.md.
support: $(READY)
	$(BIN)/python docs/upkeep/support.py

licences: $(READY)
	$(BIN)/python docs/upkeep/licences.py

# What each runtime keeps of the contract, run here (docs/conformance-table.md).
conformance-table: $(READY)
	$(BIN)/python docs/upkeep/conformance_table.py

bench: $(READY)
	$(BIN)/python benchmarks/first_slice.py
	$(BIN)/python benchmarks/preprocessing.py
	$(BIN)/python benchmarks/decoding.py
	$(BIN)/python benchmarks/keras_twin.py
	$(BIN)/python benchmarks/source_memory.py

# What becomes of every public DICOM object, whole (docs/corpus.md) and broken.
corpus: $(READY)
	$(BIN)/python benchmarks/corpus.py
	$(BIN)/python benchmarks/hostile_corpus.py

# Bundles of every network at its full size, for speed alone: purpose "benchmark".
full-size: $(READY)
	$(BIN)/python benchmarks/full_size.py build/full-size

train: $(READY)
	$(BIN)/python export/training/uterus_mr_tumor_filter.py --out export/medsdk_export/reference_weights/uterus-mr
	$(BIN)/python export/training/liver_us.py --out export/medsdk_export/reference_weights/liver-us

# SOURCE_DATE_EPOCH is the last commit's time where it is not set (docs/device-install.md).
# What an earlier version left in dist would be packed too.
dist: $(READY)
	rm -f dist/medsdk-*.whl dist/medsdk-*.tar.gz
	$(BIN)/python release/build_distributions.py --out dist

# Every wheel of a device for Linux x86-64 and aarch64 and Windows x64 (docs/device-install.md).
offline-kit: dist
	$(BIN)/python release/make_offline_kit.py --wheel dist/medsdk-*.whl --out build/offline-kit

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
