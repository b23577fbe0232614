# `make audit` and `make test` need Python >= 3.11 and make; everything else goes into .venv
PYTHON ?= python3
BIN := .venv/bin

.PHONY: audit test docs formal clean

audit: .venv/ready
	$(BIN)/promptcert audit --out audit --jobs 2

test: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/mypy
	cd verify/kernel && ../../$(BIN)/mypy --strict .
	$(BIN)/python -m pytest -q -n 2 --dist worksteal --ignore=tests/kernel
	$(BIN)/python -m pytest -q -n 2 --dist worksteal --cov=verify/kernel --cov-branch --cov-report=term-missing:skip-covered --cov-fail-under=100 tests/kernel

docs: .venv/docs
	$(BIN)/python docs/findings.py
	rm -rf docs/_build docs/reference
	$(BIN)/sphinx-build -q -W --keep-going -b html -c docs . docs/_build
	@echo "open docs/_build/docs/index.html"

formal: .venv/ready
	$(MAKE) -C formal -j 2
	$(BIN)/python formal/replay.py

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "promptcert needs Python >= 3.11, found " + sys.version)'
	$(PYTHON) -m venv .venv
	@echo "installing the dependencies into .venv (once, a few minutes)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/dev: .venv/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

.venv/docs: .venv/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

clean:
	rm -rf .venv audit docs/_build docs/reference
