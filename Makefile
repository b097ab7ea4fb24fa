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
	@echo "make run       run the server (PORT=$(PORT) WEB=$(WEB) DATA=$(DATA) STORAGE=files OPTIONS=--language=en)"
	@echo "make demo      run one with simulated drivers, to be looked at (SPEED=$(SPEED) DEMO=$(DEMO))"
	@echo "make test      run every test (TESTS=tests.net.test_tls for some of them)"
	@echo "make fast      run the half of the tests that does not take long"
	@echo "make check     check style and types, and run that half: before each commit"
	@echo "make lowest    run that half with the lowest versions that setup.cfg allows"
	@echo "make coverage  run every test and show which lines none of them reaches"
	@echo "make lint      check style and types"
	@echo "make format    put the style right"
	@echo "make bench     measure what a request costs (BENCH=options of benchmarks/requests.py)"
	@echo "make soak      ten minutes of bad behaviour and kills (SOAK=options of benchmarks/soak.py)"
	@echo "make mutants   change the rules one point at a time: does a test notice? (MUTANTS=paths)"
	@echo "make docs      build the documentation into build/docs"
	@echo "make pictures  take those of the page in docs/figures anew, by Chromium"
	@echo "make changelog show the news of the next release"
	@echo "make audit     look for known vulnerabilities in what constraints.txt names"
	@echo "make constraints  name the present version of every requirement, with hashes"
	@echo "make debian    follow the operators' pages on a fresh Debian, as root (DEBIAN='$(DEBIAN)')"
	@echo "make release   build the release of a tag (TAG=v1.2.0) into dist"
	@echo "make clean     remove what the others made, but no data"

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

# A server and its map, where the port for that is free. 1: where its data is. 2: its options.
define serve
	@web='$(WEB)'; \
	if [ -n "$$web" ] && ! $(BIN)/python tools/free.py "$$web"; then \
	    echo "Port $$web is taken, so there is no map: make $@ WEB=8081 shows it at another"; \
	    web=; \
	fi; \
	case "$$web" in *[!0-9]*) map=$$web ;; *) map=http://127.0.0.1:$$web ;; esac; \
	echo "Starting evcharge at port $(PORT), with $${web:+its map at $$map and }its data in" \
	    '$(1); Ctrl-C ends it'; \
	exec $(BIN)/twistd --nodaemon --pidfile= evcharge --port '$(PORT)' $(2) $${web:+--web-port "$$web"}
endef

run: $(VENV)/.run
	$(call serve,$(or $(STORAGE),$(DATA)),--data '$(DATA)' $(if $(STORAGE),--storage '$(STORAGE)') $(OPTIONS))

demo: $(VENV)/.run
	@echo 'Drivers are simulated, and their time goes $(SPEED) times as fast as ours'
	$(call serve,$(DEMO),--data '$(DEMO)' --simulate demo --speed '$(SPEED)' --for-ever $(OPTIONS))

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
