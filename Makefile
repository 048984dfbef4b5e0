# The two commands: `make demo` and `make test`. Both need only Python >= 3.11, make and PyPI.
# For who carries on: `make check` (style, types, spelling, documentation), `make docs`, `make format`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MINUTES ?= 8
PAGES := README.md CONTRIBUTING.md CHANGELOG.md docs reproductions benchmarks

.PHONY: demo test check docs format clean

demo: $(VENV)/.installed
	$(BIN)/isodiff study demo --minutes $(MINUTES) --out runs/demo

test: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/pyright
	@$(MAKE) --no-print-directory docs

# build/site: the guides and the API reference. A link or an anchor that leads nowhere is an error.
docs: $(VENV)/.installed
	@mkdir -p build/pages
	@for page in $(PAGES); do ln -sfn ../../$$page build/pages/$$page; done
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build 2>build/docs.log || { grep -v ^INFO build/docs.log; exit 1; }

format: $(VENV)/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "isodiff needs Python >= 3.11; set PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build .pytest_cache .ruff_cache
