# make run: the server on port 8888; make demo: one with simulated drivers; make test: every test.
# Each sets up what it needs.
VENV ?= .venv
PYTHON ?= python3
PORT ?= 8888
DATA ?= evcharge-data
DEMO ?= evcharge-demo
SPEED ?= 60
STORAGE ?=
OPTIONS ?=
WEB ?= 8080
TESTS ?=
# Processes that share the tests, two more than the machine has processors, as tests also wait.
JOBS ?= $(shell echo $$(($$(nproc 2>&- || echo 1) + 2)))
TAG ?=
AUDIT ?=
DEBIAN ?= bookworm trixie

BIN = $(VENV)/bin
PIP = $(BIN)/pip install --quiet --disable-pip-version-check
PACKAGING = setup.cfg pyproject.toml
COMMA = ,
# One file for every Python from 3.10 on, and every machine.
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes \
    --upgrade --no-annotate --custom-compile-command 'make constraints'

# What needs Chromium, which there is not beside each Python that the fast half runs in.
BROWSER = $(subst /,.,$(basename $(sort $(wildcard tests/browser/test_*.py))))

# What takes minutes: kills, processes by the dozen, floods. All other tests are the fast half. The
# longest come first, so that no process is left with one when the others have ended.
SLOW = tests.process.test_clock_servers tests.web.test_schemathesis tests.simulator.test_tutorial \
    tests.storage.test_invariants tests.storage.sql.test_kills tests.storage.test_steps \
    tests.handlers.test_journey_storages tests.process.test_workers tests.net.test_hostile \
    tests.web.test_hostile tests.storage.files.test_session_steps \
    tests.storage.test_network_change tests.storage.test_storage tests.commands.test_simulate_run \
    $(BROWSER) tests.storage.test_sessions tests.commands.test_migrate tests.commands.test_apply \
    tests.storage.sql.test_sql tests.storage.test_storage_clocks tests.net.test_tls \
    tests.project.test_soak tests.storage.sql.test_upgrade tests.simulator.test_known_answers \
    tests.simulator.test_report tests.project.test_release tests.process.test_server \
    tests.storage.sql.test_postgres_server tests.simulator.test_live \
    tests.process.test_simulate tests.commands.test_simulate_drive \
    tests.handlers.test_journey_transports tests.planning.test_trips \
    tests.planning.test_nearest \
    tests.handlers.test_journey_post tests.process.test_live_web tests.process.test_faults \
    tests.test_bootstrap tests.process.test_logs tests.handlers.test_texts \
    tests.web.test_web_ports tests.web.test_live tests.web.test_health \
    tests.storage.sql.test_schema tests.process.test_live tests.test_cli tests.commands.test_ask \
    tests.commands.test_drive tests.commands.test_drive_sessions \
    tests.commands.test_migrate_sessions tests.handlers.test_sessions tests.commands.test_backup \
    tests.process.test_secrets tests.project.test_operation_unit tests.project.test_soak_sessions \
    tests.project.test_watcher tests.project.test_operation_examples \
    tests.project.test_operation_proxies tests.project.test_web_page tests.project.test_app_tutorial \
    tests.simulator.test_cluster
# Of the slow ones, those that look most into what others wrote: with the lowest versions, too.
LOWEST = tests.net.test_tls tests.web.test_health tests.web.test_web_ports tests.web.test_live \
    tests.storage.sql.test_schema
FAST = $(filter-out $(SLOW),$(subst /,.,$(basename $(sort $(wildcard \
    tests/test_*.py tests/*/test_*.py tests/*/*/test_*.py)))))
TRIAL = -Wall tools/tests.py --jobs $(JOBS)
# What `make mutants` changes, and the tests that are to notice.
RULES = $(addprefix evcharge/, models rules planning wire utils outcomes.py storage)
KILLERS = $(filter-out tests.project.%,$(FAST)) $(filter tests.storage.% tests.handlers.% \
    tests.planning.%,$(SLOW)) tests.commands.test_migrate
# The lowest Python that setup.cfg names, where this machine has it.
OLDEST = $(or $(firstword $(shell $(PYTHON) tools/pythons.py)),$(PYTHON))

.PHONY: help run demo test fast check lowest coverage lint format bench mutants soak docs changelog audit constraints pictures debian release clean

help:
	@echo "Use evcharge"
	@echo "  make run          start the server: PORT=$(PORT) WEB=$(WEB) DATA=$(DATA)"
	@echo "                    STORAGE=sqlite:///evcharge.db OPTIONS='--language en'"
	@echo "  make demo         one with simulated drivers: SPEED=$(SPEED) DEMO=$(DEMO)"
	@echo
	@echo "Develop evcharge"
	@echo "  make check        check style and types, run the fast tests before a commit"
	@echo "  make test         run every test (TESTS=tests.net.test_tls runs one module)"
	@echo "  make fast         run the fast half of the tests"
	@echo "  make lowest       run them with the lowest versions that setup.cfg allows"
	@echo "  make coverage     run every test, show the lines that none of them reaches"
	@echo "  make lint         check style and types"
	@echo "  make format       format the code"
	@echo "  make docs         build the documentation into build/docs"
	@echo "  make pictures     take the pictures of docs/figures again, with Chromium"
	@echo "  make bench        measure requests (BENCH=options of benchmarks/requests.py)"
	@echo "  make soak         ten minutes of load and kills (SOAK=options of soak.py)"
	@echo "  make debian       run the install pages' commands on a fresh Debian (root)"
	@echo "  make mutants      change the rules: does a test notice? (MUTANTS=paths)"
	@echo "  make clean        remove what the others made, but no data"
	@echo
	@echo "Release evcharge"
	@echo "  make changelog    show the news of the next release"
	@echo "  make audit        look for known vulnerabilities in constraints.txt"
	@echo "  make constraints  update constraints.txt: each requirement, with hashes"
	@echo "  make release      build a release into dist (TAG=v1.2.0)"

$(VENV)/.made:
	@echo 'Making a Python environment in $(VENV)/'
	@sh tools/environment.sh '$(PYTHON)' '$(VENV)'
	@touch $@

# What is installed, and pip's words for it. It takes a while, and pip says nothing meanwhile.
define install
	@echo 'Installing $(1) in $(VENV)/: once, about a minute'
	@$(PIP) $(2)
	@touch $@
endef

$(VENV)/.run: $(PACKAGING) $(VENV)/.made
	$(call install,evcharge and what it needs,-e .)

$(VENV)/.test: $(PACKAGING) $(VENV)/.made
	$(call install,what the tests need,-e '.[test$(COMMA)browser$(COMMA)docs]')

$(VENV)/.lint: $(PACKAGING) $(VENV)/.made
	$(call install,what style and types are checked with,-e '.[test$(COMMA)browser$(COMMA)docs$(COMMA)lint]')

$(VENV)/.docs: $(PACKAGING) $(VENV)/.made
	$(call install,what builds the documentation,-e '.[docs$(COMMA)release]')

$(VENV)/.audit: $(VENV)/.made
	$(call install,pip-audit,pip-audit)

# A server and its map, where the port for that is free. 1: its options.
define serve
	@web='$(WEB)'; \
	if [ -n "$$web" ] && ! $(BIN)/python tools/free.py "$$web"; then \
	    echo "Port $$web is taken, so there is no map: make $@ WEB=8081 shows it at another"; \
	    web=; \
	fi; \
	exec $(BIN)/twistd --nodaemon --pidfile= evcharge --port '$(PORT)' $(1) $${web:+--web-port "$$web"}
endef

run: $(VENV)/.run
	$(call serve,--data '$(DATA)' $(if $(STORAGE),--storage '$(STORAGE)') $(OPTIONS))

demo: $(VENV)/.run
	@echo 'Drivers are simulated, and their time goes $(SPEED) times as fast as ours'
	$(call serve,--data '$(DEMO)' --simulate demo --speed '$(SPEED)' --for-ever $(OPTIONS))

test: $(VENV)/.test
	$(BIN)/python $(TRIAL) $(or $(TESTS),$(SLOW) $(FAST))

fast: $(VENV)/.test
	$(BIN)/python $(TRIAL) $(FAST)

check: lint fast

# An environment of its own.
$(VENV)/lowest/.test: $(PACKAGING) tools/lowest.py
	@rm -rf $(VENV)/lowest
	@sh tools/environment.sh '$(OLDEST)' '$(VENV)/lowest'
	$(OLDEST) tools/lowest.py > $(VENV)/lowest/constraints.txt
	@echo 'Installing the lowest versions in $(VENV)/lowest/: once, about a minute'
	@$(VENV)/lowest/bin/pip install --quiet --disable-pip-version-check \
	    --constraint $(VENV)/lowest/constraints.txt -e '.[test]'
	@touch $@

lowest: $(VENV)/lowest/.test
	$(VENV)/lowest/bin/python $(TRIAL:-Wall=) $(LOWEST) $(FAST)

coverage: $(VENV)/.test
	$(BIN)/coverage erase
	$(BIN)/coverage run -m twisted.trial $(or $(TESTS),tests)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=95

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.test
	$(BIN)/python benchmarks/requests.py $(BENCH)

mutants: $(VENV)/.test
	$(BIN)/python tools/mutants.py $(or $(MUTANTS),$(RULES)) --tests $(KILLERS)

soak: $(VENV)/.run
	$(BIN)/python benchmarks/soak.py $(SOAK)

docs: $(VENV)/.docs
	$(BIN)/sphinx-build -q -W docs build/docs

pictures: $(VENV)/.test
	$(BIN)/python tools/screenshots.py
	$(BIN)/python tools/animation.py

changelog: $(VENV)/.docs
	$(BIN)/towncrier build --draft

audit: $(VENV)/.audit
	$(BIN)/python tools/audit.py $(AUDIT)

constraints: $(VENV)/.made
	$(PIP) uv
	$(LOCK) --output-file constraints.txt --extra postgresql setup.cfg
	printf 'build\nsetuptools >= 66.1\nwheel\n' | $(LOCK) --output-file constraints-release.txt -

# An environment of its own, which has nothing but what is pinned.
release:
	$(PYTHON) -m venv --clear $(VENV)/release
	$(VENV)/release/bin/pip install --quiet --disable-pip-version-check --require-hashes \
	    -r constraints-release.txt
	$(VENV)/release/bin/python tools/release.py '$(TAG)'

# By root, with debootstrap and systemd-container.
debian:
	$(PYTHON) tools/debian.py $(DEBIAN)

clean:
	rm -rf $(VENV) build dist _trial_temp* .coverage* .hypothesis .mypy_cache .ruff_cache *.egg-info
