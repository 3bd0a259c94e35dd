# make demo    a node of its own, half a minute of candidates with bursts among them, what became of
#              each, and what came to LOFAR and others, which are the demo's own. ARGS are for the
#              demo: make demo ARGS='--bursts 8 --duration 60'
# make test    lint, types and all tests. ARGS are for tox: make test ARGS='-e tests -- -k demo'
# make faults  observations while faults strike: SEED is the first one's, RUNS is how many
# make bench   the benchmarks, one after the other (docs/performance.md); not those of an hour or of
#              a cluster, which needs root
# make clean   removes what these have made
#
# They need Python 3.11 or later with venv and pip; PYTHON names another interpreter.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
ARGS ?=
SEED ?= 1
RUNS ?= 20
VENV := .venv
BENCHMARKS := status_command start_stop recovery memory clustering latency throughput parse_lines \
    trigger_latency status_page extraction

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
export PIP_NO_INPUT := 1

.PHONY: demo test faults bench clean

demo: $(VENV)/installed
	@$(VENV)/bin/python -m darc.replay.demo $(ARGS)

# What an earlier build has left would get into the wheel.
test: $(VENV)/tox
	@rm -rf build
	$(VENV)/bin/python -m tox $(ARGS)

faults: $(VENV)/installed
	@$(VENV)/bin/python -m pip install --quiet --editable '.[test]'
	@$(VENV)/bin/python tests/faults/fault_runner.py --seed $(SEED) --runs $(RUNS)

bench: $(VENV)/installed
	@for name in $(BENCHMARKS); do \
	    echo; echo "== $$name"; $(VENV)/bin/python -m benchmarks.$$name || exit 1; \
	done

# Editable: a change of the code needs no new installation, one of what is installed does.
$(VENV)/installed: $(VENV)/python setup.cfg pyproject.toml darc/__init__.py $(wildcard bin/*)
	$(VENV)/bin/python -m pip install --quiet --editable '.[demo]'
	@touch $@

$(VENV)/tox: $(VENV)/python
	$(VENV)/bin/python -m pip install --quiet 'tox>=4.11'
	@touch $@

# A half-made environment is made again.
$(VENV)/python:
	@test -n '$(PYTHON)' || { echo 'no Python found: make PYTHON=/path/to/python3.11 ...'; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo 'Python 3.11 or later is needed: make PYTHON=/path/to/python3.11 ...'; exit 1; }
	$(PYTHON) -m venv --clear $(VENV) || \
	    { echo 'venv and pip are needed (Debian, Ubuntu: the package python3-venv)'; exit 1; }
	@touch $@

clean:
	rm -rf $(VENV) .tox build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find darc tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
