# make run   sets up .venv, measures grounding on real photos with real weights, prints the table
# make test  sets up .venv, checks style and types, runs the tests
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: install run test lint bench report clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,launchers]'
	touch $@

run: install
	$(BIN)/vlground experiment=photos
	$(BIN)/vlground-report runs

# Two processes that compute share the cores: waiting threads must not spin.
test: lint
	OMP_WAIT_POLICY=PASSIVE OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup -m 'not slow and not gpu'

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: install
	for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

report: install
	$(BIN)/vlground-report runs

clean:
	rm -rf $(VENV) build dist
