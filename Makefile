# make demo    two peers behind two NATs of the kernel, on this machine, in 20 seconds
# make test    every test; what needs root or namespaces is skipped, with its reason, without
# make lint    ruff and mypy
# make coverage    whether the tests that ran last, with --cov, reached enough of the source
# make promises    every promise shown at full length, and its table put into tests/README.md; hours
# make red     each defence taken out of a copy of the source, to see its test fail
# make nemesis  1,000 seeds of whatever can strike, 10,000 messages and 50 meetings in bad weather
# make fuzz    a million almost right datagrams at two members and their server, and each decoder
# make recording   the picture of the README, from a chat behind two NATs of the kernel
# make bench   the figures of tests/bench/README.md, and build/bench-COMMIT.json; the matrix with
#              fewer runs than there, in 15 minutes.  `python -m tests.bench.compare OLD NEW` tells
#              what got worse
# make matrix  every pair of NATs with all seeds and runs, put into tests/bench/README.md: an hour
#              on two quiet cores; called again it goes on where it was
#
# Each does its own set-up: a virtual environment in .venv, and the system packages by apt
# where this is root; elsewhere it names them.

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?= --numprocesses 3
MATRIX_ARGS ?= --seeds 30 --runs 10

BIN = $(VENV)/bin
RUN_NEEDS = ip:iproute2 nft:nftables unshare:util-linux sysctl:procps
TEST_NEEDS = $(RUN_NEEDS) conntrack:conntrack systemd-nspawn:systemd-container tmux:tmux \
	miniupnpd:miniupnpd-nftables turnutils_natdiscovery:coturn faketime:faketime \
	mkfs.ext4:e2fsprogs

BENCHES = first_message local server session startup journeys

.PHONY: demo test lint coverage bench matrix promises red nemesis fuzz recording clean

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

coverage: $(VENV)/dev.installed
	@$(BIN)/python -m tests.coverage_floors

bench: $(VENV)/dev.installed
	@.ci/system-packages $(TEST_NEEDS)
	@mkdir -p build && rm -f build/figures.json
	@status=0; file=$$($(BIN)/python -m tests.bench.record) || exit 1; \
	for bench in $(BENCHES); do \
		echo "== $$bench"; \
		$(BIN)/python -m tests.bench.$$bench --record $$file || status=1; \
	done; \
	echo "== matrix"; \
	$(BIN)/python -m tests.bench.matrix $(MATRIX_ARGS) --json build/figures.json \
		--record $$file || status=1; \
	echo "== population"; \
	$(BIN)/python -m tests.bench.population build/figures.json --record $$file || status=1; \
	echo "all figures: $$file"; \
	exit $$status

matrix: $(VENV)/dev.installed
	@.ci/system-packages $(TEST_NEEDS)
	@$(BIN)/python -m tests.bench.matrix --all --json build/matrix.json \
		--readme tests/bench/README.md

promises: $(VENV)/dev.installed
	@.ci/system-packages $(TEST_NEEDS)
	@$(BIN)/python -m tests.promises --write

red: $(VENV)/dev.installed
	@.ci/system-packages $(TEST_NEEDS)
	@$(BIN)/python -m tests.red

nemesis: $(VENV)/dev.installed
	@$(BIN)/python -m tests.nemesis --seeds 1000
	@$(BIN)/python -m tests.nemesis.weather --messages 10000 --meetings 50

fuzz: $(VENV)/dev.installed
	@$(BIN)/python -m tests.fuzz --datagrams 1000000

recording: $(VENV)/dev.installed
	@.ci/system-packages $(RUN_NEEDS)
	@$(BIN)/python -m tests.recording .github/chat.svg

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage

$(VENV)/natd.installed: pyproject.toml
	@.ci/virtual-environment $(PYTHON) $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/dev.installed: pyproject.toml
	@.ci/virtual-environment $(PYTHON) $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/natd.installed
