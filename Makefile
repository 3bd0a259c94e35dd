# make demo    a node of its own, half a minute of candidates with bursts among them, what became of
#              each, and what came to LOFAR and others, which are the demo's own. ARGS are for the
#              demo: make demo ARGS='--bursts 8 --duration 60'
# make test    lint, types and all tests, and the quick ones on every other Python from 3.12 on that
#              is found. ARGS are for tox: make test ARGS='-e tests -- -k demo'
# make quick   the tests that start no node: model, science, files and queues, in about a minute.
#              ARGS are for pytest: make quick ARGS='-k dispersion'
# make peers   whether `your`, blimpy and sigpyproc open what DARC writes (docs/peers.md); Python 3.12
# make faults  observations while faults strike: SEED is the first one's, RUNS is how many. What needs
#              root (loss of power, a share that hangs, a second machine) is skipped without
# make bench   the benchmarks, one after the other (docs/performance.md); not those of an hour or of
#              a cluster, which needs root
# make numbers S/N, DM, arrival and width beside an oracle that is not DARC's, interference, false
#              alarms (docs/accuracy.md); SIZE=1 takes about a quarter of an hour of two cores.
#              ARGS are for the program: make numbers ARGS='--parts interference'
# make docs    the documentation as a site, in docs/_build/html; a broken link or reference fails
# make pictures
#              the pictures of the documentation, in docs/images; needs Chromium (Debian: chromium)
# make clean   removes what these have made
#
# They need Python 3.11 or later with venv and pip; PYTHON names another interpreter.

# A name on the path may run nothing: pyenv has one for every Python, and one of them is chosen.
is_recent := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
ifeq ($(origin PYTHON), undefined)
PYTHON := $(shell for name in python3.11 python3 python3.14 python3.13 python3.12; do \
    $$name $(is_recent) 2>/dev/null && command -v $$name && break; done)
endif
ARGS ?=
SEED ?= 1
RUNS ?= 20
SIZE ?= 1
BENCHMARKS := status_command start_stop recovery memory clustering latency throughput parse_lines \
    trigger_latency sources status_page extraction data_files

# A target has an environment of its own for each Python: something may run in any other.
MADE := .make
VERSION := $(shell '$(PYTHON)' -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
environment = $(MADE)/$(1)-$(VERSION)
SOURCES := setup.cfg pyproject.toml darc/__init__.py $(wildcard bin/*)

# tox looks for interpreters on the path, and for pyenv's here.
empty :=
TOX_DISCOVER ?= $(subst $(empty) $(empty),:,$(sort $(wildcard \
    $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/3.1*/bin/python)))
export TOX_DISCOVER
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
export PIP_NO_INPUT := 1

.PHONY: demo test quick peers faults bench numbers docs pictures clean

demo: $(call environment,demo)/ready
	@$(<D)/bin/python -m simulator.demo $(ARGS)

# What an earlier build has left would get into the wheel.
test: $(call environment,tox)/ready
	@rm -rf build
	$(<D)/bin/python -m tox $(ARGS)

peers: $(call environment,peers)/ready
	@rm -rf build
	$(<D)/bin/python -m tox -e peers $(if $(ARGS),-- $(ARGS))

quick: $(call environment,quick)/ready
	@$(<D)/bin/python -m pytest -q tests/model tests/science tests/data_files tests/queues $(ARGS)

faults: $(call environment,faults)/ready
	@$(<D)/bin/python tests/faults/fault_runner.py --seed $(SEED) --runs $(RUNS)

bench: $(call environment,bench)/ready
	@for name in $(BENCHMARKS); do \
	    echo; echo "== $$name"; $(<D)/bin/python -m benchmarks.$$name || exit 1; \
	done

numbers: $(call environment,numbers)/ready
	@$(<D)/bin/python tests/numbers/run_numbers.py --size $(SIZE) $(ARGS)

docs: $(call environment,docs)/ready
	@$(<D)/bin/python -m sphinx --quiet --fresh-env --fail-on-warning --keep-going --nitpicky \
	    docs docs/_build/html
	@echo docs/_build/html/index.html

pictures: $(call environment,demo)/ready
	@$(<D)/bin/python -m simulator.pictures docs/images $(ARGS)

# Editable: a change of the code needs no new installation, one of what is installed does.
$(call environment,demo)/ready: EXTRA := demo
$(call environment,bench)/ready: EXTRA := demo,kafka
$(call environment,faults)/ready: EXTRA := test
$(call environment,numbers)/ready: EXTRA := numbers
$(call environment,quick)/ready: EXTRA := quick
$(call environment,docs)/ready: EXTRA := docs
$(foreach name,demo bench faults numbers quick docs,$(call environment,$(name))/ready): %/ready: %/made $(SOURCES)
	$(@D)/bin/python -m pip install --quiet --editable '.[$(EXTRA)]'
	@touch $@

$(call environment,tox)/ready $(call environment,peers)/ready: %/ready: %/made
	$(@D)/bin/python -m pip install --quiet 'tox>=4.11'
	@touch $@

# A half-made environment is made again.
$(MADE)/%/made:
	@'$(PYTHON)' $(is_recent) || \
	    { echo 'Python 3.11 or later is needed: make PYTHON=/path/to/python3.11 ...'; exit 1; }
	'$(PYTHON)' -m venv --clear $(@D) || \
	    { echo 'venv and pip are needed (Debian, Ubuntu: the package python3-venv)'; exit 1; }
	@touch $@

clean:
	rm -rf docs/_build docs/api $(MADE) .tox build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find darc tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
