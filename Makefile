# Two commands are all there is to set up: `make run` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: run compare test test-faults test-vllm test-llm lint clean

run: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dvc repro
	@echo "report: $(CURDIR)/reports/report.html"

# every method under the parameters of params.yaml, one table, one plot: about an hour on two cores
compare: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/saft compare

test: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# kills, full disks, damaged artifacts, extreme parameters, planted secrets: all of tests/faults, of
# which `make test` runs a sample; docs/trust.md says what each of them shows
test-faults: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "" tests/faults

# the describe stage through the real vLLM engine and server, on a CPU: 4 GB, minutes
test-vllm:
	PYTHON="$(PYTHON)" sh tests/integration/vllm_cpu.sh .venv-vllm

# the same with a real chat model, MODEL=<folder or hub id>; its seconds and tokens are printed
test-llm:
	PYTHON="$(PYTHON)" sh tests/integration/llm_cpu.sh "$(MODEL)" .venv-vllm

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(STAMP): requirements.lock pyproject.toml
	@PYTHON="$(PYTHON)" sh scripts/venv.sh $(VENV)
	sh scripts/install.sh $(VENV) -r requirements.lock
	sh scripts/install.sh $(VENV) --no-deps --editable .
	@touch $@

clean:
	rm -rf $(VENV) .venv-vllm .pytest_cache .mypy_cache .ruff_cache
