# `make demo` and `make test` need Python 3.11 (or 3.12, 3.13) and pip; they set up .venv once.
# A file's tests stay together and in order: they share what its fixtures made.
PYTEST = $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test quick docs clean

demo: $(STAMP)  ## the whole chain on MNIST; artefacts and the report go to demo/
	$(BIN)/toolkit demo --output demo --force

test: $(STAMP)  ## lint, types and every test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(PYTEST)

quick: $(STAMP)  ## the tests that take under two minutes
	$(PYTEST) -m "not slow"

docs: $(STAMP)  ## write docs/cli.md from the commands' --help
	$(BIN)/python docs/generate_cli.py

clean:
	rm -rf $(VENV) demo dist build

# Installed again only when the project's metadata or the pins change.
$(STAMP): pyproject.toml constraints.txt
	@echo "Installing into $(VENV): about 2.3 GB (TensorFlow is most of it), a few minutes."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt hatchling editables
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation \
		-c constraints.txt -e '.[cpu,train,keras2,ssh,dev]'
	touch $@
