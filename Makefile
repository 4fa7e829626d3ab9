# The front door. `make` prints what there is; everything else is decided in Python (ncbook/cli/app.py).

PROFILE ?= quick
DEVICE  ?= auto
TORCH   ?= cpu
export PROFILE DEVICE JOBS EXECUTOR SEEDS FROM INSTRUCTION_SET

# PyTorch in the versions that its lock pins, from the PyTorch project's own index of CPU builds: the default index serves the CUDA build on Linux (6 GB).
CPU_INDEX := https://download.pytorch.org/whl/cpu
TORCH_PINS := $(shell grep '==' requirements-torch.lock)

ifeq ($(origin PYTHON),undefined)
  RUN   := .venv/bin/python
  # named after what it was made from: dates go backwards with a clock, and say nothing of a copy
  of    = $(firstword $(shell cat $(1) | cksum))
  LOCKS := requirements.lock requirements-torch.lock pyproject.toml
  STAMP := .venv/.installed-$(TORCH)-$(call of,$(LOCKS))
  DEV_STAMP := .venv/.installed-dev-$(call of,$(LOCKS) requirements-dev.lock)
else
  # an environment of yours: nothing is installed into it. Paths go through the environment, where a shell leaves their letters alone.
  export PYTHON
  export PYTHONPATH := $(CURDIR)
  RUN   := "$$PYTHON"
  STAMP :=
  DEV_STAMP :=
endif
NCBOOK := $(RUN) -m ncbook
# one thread gives the same digits everywhere; the cores get a process each, and a file of tests stays in one
PYTEST := OMP_NUM_THREADS=1 $(RUN) -m pytest -n auto --dist loadfile --no-loadscope-reorder

# one sentence where an environment of yours lacks what a target runs
needs = $(RUN) -c "import importlib.util as u, sys; lack = [n for n in sys.argv[1:] if not u.find_spec(n)]; \
	lack and sys.exit('make $@ needs ' + ', '.join(lack) + ', which this environment lacks: pip install $(or $(2),-r requirements-dev.lock)')" $(1)

.DEFAULT_GOAL := help
.PHONY: help book figures record verify publish pdf test test-slow test-all lint style types imports format bench lab serve clean locks environment
.SUFFIXES:

help:
	@echo "make book              every figure and the HTML book; prints the page to open"
	@echo "make test              unit, property and one-chapter tests (about 4 minutes on two cores)"
	@echo "make test-all          also the browser and the slow tests"
	@echo "make figures           train and execute all chapters, without building pages"
	@echo "make figure-CHAPTER    one chapter:$$(ls book/chapters/*.ipynb | sed 's|.*/| |; s|.ipynb||' | tr '\n' ' ')"
	@echo "make verify            train a profile again and compare every number with the record (CHAPTER=one of them; STRICT=1;"
	@echo "                       REUSE=1: take the runs of make book, and do not train them again)"
	@echo "make record            keep a profile's finished tables in data/results (CHAPTER=one of them)"
	@echo "make publish           the book from the largest records, without training"
	@echo "make pdf               the built book as one PDF, printed by Chromium"
	@echo "make lint              style, types, and that the package's imports point one way"
	@echo "make format            write the style that make lint asks for"
	@echo "make bench             what all costs, against what else one would use, for the book's page of costs (a quarter of an hour;"
	@echo "                       SHAPES=20000,512,10: the metrics alone, at one shape N,d,C)"
	@echo "make lab               JupyterLab in the book's environment"
	@echo "make serve             the built book on http://localhost:8000"
	@echo "make clean             delete what was built; downloads and finished runs stay"
	@echo
	@echo "PROFILE=$(PROFILE)   quick (embedded data), laptop (MNIST, Fashion-MNIST, CIFAR-10) or paper (a GPU)"
	@echo "DEVICE=$(DEVICE)     cpu, cuda or auto"
	@echo "INSTRUCTION_SET=$(or $(INSTRUCTION_SET),avx2)  what a CPU rounds with: the same everywhere unless you say generic or avx512"
	@echo "JOBS=$(or $(JOBS),one a core)     runs at a time; results do not depend on it"
	@echo "EXECUTOR=$(or $(EXECUTOR),local)  who computes runs: parsl:slurm and others, see the book's page On a cluster"
	@echo "FROM=$(or $(FROM),training)       or FROM=record: show the tables on record, train nothing"
	@echo "SEEDS=$(or $(SEEDS),the profile's)  seeds a setting; five or more for a verdict"
	@echo "TORCH=$(TORCH)       cpu or cuda: which build of PyTorch the environment gets"
	@echo "PYTHON=$${PYTHON:-.venv}    an existing environment's Python; nothing is installed into it"

book: $(STAMP)
	@$(NCBOOK) book

figures: $(STAMP)
	@$(NCBOOK) run

figure-%: $(STAMP)
	@$(NCBOOK) run $*

record: $(STAMP)
	@$(NCBOOK) record $(CHAPTER)

verify: $(STAMP)
	@$(NCBOOK) verify $(CHAPTER) $(if $(STRICT),--strict) $(if $(REUSE),--reuse)

publish: $(STAMP)
	@$(NCBOOK) publish

pdf: $(STAMP)
	@$(NCBOOK) pdf

test: $(STAMP)
	@$(call needs,pytest xdist hypothesis,.[test])
	@$(PYTEST)

test-slow: $(STAMP)
	@$(call needs,pytest xdist hypothesis,.[test])
	@$(PYTEST) -m slow

test-all: test test-slow

lint: style types imports

style: $(DEV_STAMP)
	@$(call needs,ruff)
	@$(RUN) -m ruff check
	@$(RUN) -m ruff format --check

types: $(DEV_STAMP)
	@$(call needs,mypy)
	@$(RUN) -m mypy

imports: $(DEV_STAMP)
	@$(call needs,importlinter)
	@$(RUN) -c "from importlinter.cli import lint_imports_command; lint_imports_command()"

format: $(DEV_STAMP)
	@$(call needs,ruff)
	@$(RUN) -m ruff check --fix
	@$(RUN) -m ruff format

bench: $(STAMP)
	@OMP_NUM_THREADS=1 $(RUN) tests/benchmarks/$(if $(SHAPES),bench_metrics.py $(SHAPES),record.py)

lab: $(STAMP)
	@$(RUN) -m jupyterlab book/chapters

serve: book
	@echo "http://localhost:8000"
	@$(RUN) -m http.server 8000 --bind 127.0.0.1 --directory book/_build/html

clean:
	rm -rf book/_build

# --- the environment ---------------------------------------------------------

ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
FIRST_PYTHON = $(shell for p in python3 python3.13 python3.12 python3.11; do $$p -c '$(ENOUGH)' 2>/dev/null && { echo $$p; break; }; done)
PIP := .venv/bin/python -m pip -qq --disable-pip-version-check --log .venv/install.log

environment: $(STAMP)

.venv/.installed-$(TORCH)-%:
	@case "$(TORCH)" in cpu|cuda) ;; *) echo "TORCH=$(TORCH): use cpu or cuda."; exit 1;; esac
	@test -n "$(FIRST_PYTHON)" || { echo "ncbook needs Python 3.11 or newer, and python3 is not; install one, or give yours: make book PYTHON=/path/to/python"; exit 1; }
	@test -x .venv/bin/pip || { rm -rf .venv; $(FIRST_PYTHON) -m venv .venv >/dev/null 2>&1; } \
		|| { rm -rf .venv; echo "$(FIRST_PYTHON) -m venv does not work here; on Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }
	@echo "installing the environment into .venv (about 3 minutes, 2 GB; TORCH=$(TORCH))"
	@rm -f .venv/.installed-* .venv/install.log
	@if [ "$(TORCH)" = cuda ]; then \
		.venv/bin/python -c "import torch, sys; sys.exit('+cpu' in torch.__version__)" 2>/dev/null || $(PIP) uninstall -y torch torchvision; \
	elif [ "$$(uname)" = Linux ]; then \
		$(PIP) install --progress-bar off --no-deps --retries 0 --timeout 15 --index-url $(CPU_INDEX) $(TORCH_PINS) >/dev/null 2>&1 \
		|| echo "the PyTorch index of CPU builds cannot be reached; taking PyTorch from the default index"; \
	fi
	@$(PIP) install --progress-bar off --no-deps --require-hashes -r requirements.lock \
		&& $(PIP) install --progress-bar off -r requirements-torch.lock \
		&& $(PIP) install --progress-bar off --no-deps --no-build-isolation -e . \
		|| { echo "the packages could not be installed; is there a network? The log is .venv/install.log. An environment that has them: make PYTHON=/path/to/python"; exit 1; }
	@touch $@

.venv/.installed-dev-%: | $(STAMP)
	@$(PIP) install --progress-bar off --no-deps --require-hashes -r requirements-dev.lock \
		|| { echo "the tools of make lint could not be installed; is there a network? The log is .venv/install.log."; exit 1; }
	@touch $@

# The locks: every package with the hashes of its files, for Linux, macOS and each Python from 3.11 on. What is locked stays, unless pyproject.toml
# asks for more; to renew, delete its lines, or the file.
LOCK := $(RUN) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command "make locks"
CUDA := cuda-bindings cuda-toolkit nvidia-cublas nvidia-cudnn-cu13 nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvshmem-cu13 triton

locks: $(DEV_STAMP)
	@printf '%s\n' $(CUDA) | $(LOCK) pyproject.toml --extra book --extra test --constraints requirements-torch.lock --excludes /dev/stdin \
		--no-emit-package torch --no-emit-package torchvision --output-file requirements.lock >/dev/null
	@$(LOCK) --group dev --constraints requirements.lock --output-file requirements-dev.lock >/dev/null
