# make demo    two peers behind two NATs of the kernel, on this machine, in 20 seconds
# make test    every test; what needs root or namespaces is skipped, with its reason, without
# make lint    ruff and mypy
# make bench   the figures of the README
#
# Each does its own set-up: a virtual environment in .venv, and the system packages by apt
# where this is root; elsewhere it names them.

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=

BIN = $(VENV)/bin
RUN_NEEDS = ip:iproute2 nft:nftables unshare:util-linux sysctl:procps
TEST_NEEDS = $(RUN_NEEDS) conntrack:conntrack systemd-nspawn:systemd-container tmux:tmux \
	miniupnpd:miniupnpd-nftables turnutils_natdiscovery:coturn

.PHONY: demo test lint bench clean

demo: $(VENV)/natd.installed
	@.ci/system-packages $(RUN_NEEDS)
	@$(BIN)/natctl demo

test: $(VENV)/dev.installed
	@.ci/system-packages $(TEST_NEEDS)
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/dev.installed
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

bench: $(VENV)/dev.installed
	@.ci/system-packages $(TEST_NEEDS)
	@status=0; for bench in tests/bench/[a-z]*.py; do \
		name=$$(basename $$bench .py); echo "== $$name"; \
		$(BIN)/python -m tests.bench.$$name || status=1; \
	done; exit $$status

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/natd.installed: pyproject.toml
	@.ci/virtual-environment $(PYTHON) $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/dev.installed: pyproject.toml
	@.ci/virtual-environment $(PYTHON) $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/natd.installed
