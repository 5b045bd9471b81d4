# Everything is run from here: `make` lists the targets. Settings are environment variables or `make up NAME=value`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest

# What runs the platform, and what develops it: two locks, two stamps, so that a demo waits for no linter.
RUN := .venv/.run
DEV := .venv/.dev

.PHONY: help demo up down status clean migrate run test test-unit test-integration check lint format lock \
	bench model simulation ablations faults faults-nightly crash-points fuzz compose-env compose-stack test-containers topics dead-letters redrive accept-offset rebuild audit .venv

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(RUN): requirements.lock
	@devstack/make_venv.sh requirements.lock
	@touch $@

$(DEV): requirements-dev.lock $(RUN)
	@devstack/make_venv.sh requirements-dev.lock
	@touch $@

.venv: $(DEV) ## the virtual environment with everything in it

demo: $(RUN) ## start the shop, place orders that go well and that do not, show their timelines (DEMO_EXIT=1 stops it)
	@$(PYTHON) -m devstack demo

up: $(RUN) ## start what is dead of the stack, in the background (STACK_DIR, STACK_PORT_OFFSET, BROKERS=3, LAYOUT=together)
	@$(PYTHON) -m devstack up

down: $(RUN) ## stop the stack; its data stay
	@$(PYTHON) -m devstack down

status: $(RUN) ## what runs
	@$(PYTHON) -m devstack status

clean: $(RUN) ## stop the stack and remove its data
	@$(PYTHON) -m devstack clean

migrate: $(RUN) ## bring the running stack's databases to the newest revision (s=inventory: one of them)
	@$(PYTHON) -m devstack migrate "$(s)"

run: $(RUN) ## run one service in this terminal, in the running stack (s=inventory)
	@$(PYTHON) -m devstack run "$(s)"

test: test-unit test-integration ## all tests; PostgreSQL and Kafka are started and stopped by themselves

test-unit: $(DEV) ## the tests that need nothing
	@$(PYTEST) -m "not integration and not journey and not faults and not containers"

test-containers: $(DEV) ## the platform of docker-compose.yml, and a service on testcontainers' servers, where an engine answers
	@$(PYTEST) -m containers

test-integration: $(DEV) ## the tests that need PostgreSQL and Kafka, and the journeys through the whole system
	@$(PYTEST) -m "integration or journey"

check: lint ## lint, types, architecture, migrations against tables, unit tests
	@$(PYTHON) -m mypy
	@.venv/bin/lint-imports --no-logo
	@$(PYTHON) -m devstack check-migrations
	@$(MAKE) test-unit

lint: $(DEV) ## ruff, and is everything formatted
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check

format: $(DEV) ## mend what ruff can mend
	@.venv/bin/ruff check --fix
	@.venv/bin/ruff format

compose-env: ## write random passwords for docker-compose.yml into .env, once (PORT_OFFSET=100 moves its ports)
	@deploy/compose/make_env.sh

compose-stack: $(RUN) ## tell tools where the platform in containers is: .stack-compose/stack.json
	@$(PYTHON) -m devstack.compose

lock: $(DEV) ## resolve the dependencies of pyproject.toml anew
	@devstack/lock.sh

bench: $(DEV) ## measure (DURATION, SCENARIO)
	@$(PYTHON) -m bench

model: $(RUN) ## explore every interleaving of sagas and participants in small worlds (STATES=200000 stops there)
	@$(PYTHON) -m tests.model

simulation: $(RUN) ## run the whole platform on a simulated clock, store and broker, with faults (SEEDS=700000-702000, both included; SEED=700006 with its trace, TIMES=100 for its hashes)
	@$(PYTHON) -m tests.simulation

ablations: $(RUN) ## leave out each safeguard alone, and find what it prevents (A=arming,tombstone)
	@$(PYTHON) -m tests.ablations

faults: $(DEV) ## break real servers and services under load, and audit (SEED, KIND=kill_all,…, PART=1…5, MINUTES)
	@$(PYTHON) -m tests.faults.harness

faults-nightly: $(DEV) ## pairs of faults, and a soak with the slope of memory and tables (SEED, MINUTES=60)
	@$(PYTHON) -m tests.faults.harness nightly

crash-points: $(DEV) ## end a service at every named place, under load, and audit (P=relay.sent,cards.fed  PART=1 … 5)
	@$(PYTHON) -m tests.crashpoints

fuzz: $(DEV) ## put bad records into every topic between orders, and audit (COUNT=5000, SEED=1)
	@$(PYTHON) -m tests.fuzz

topics: $(RUN) ## the messages of an order in all topics, in order of time (o=<order id>, json=1 for headers and values)
	@$(PYTHON) -m devstack.topics $(o) $(if $(json),--json)

dead-letters: $(RUN) ## show a service's dead letters (s=inventory)
	@$(PYTHON) -m devstack in "$(s)" libs.service dead-letters "$(s)"

redrive: $(RUN) ## run a dead letter again (s=inventory id=…)
	@$(PYTHON) -m devstack in "$(s)" libs.service redrive "$(s)" "$(id)"

accept-offset: $(RUN) ## settle a service's alarm about a topic's offsets (s=inventory topic=… partition=… offset=…)
	@$(PYTHON) -m devstack in "$(s)" libs.service accept-offset "$(s)" "$(topic)" "$(partition)" "$(offset)"

rebuild: $(RUN) ## make the read model anew from the events, while it is in use
	@$(PYTHON) -m devstack in order_history order_history rebuild

# B608 is ruff's S608, where each exception has its reason beside it.
audit: $(DEV) ## known vulnerabilities in what is locked, and in our own code (asks the package registry)
	@code=0; $(PYTHON) -m devstack.audit requirements.lock || code=$$?; \
	.venv/bin/bandit --quiet --recursive --severity-level medium --skip B608 \
		gateway order_saga order product inventory payment order_history libs migrations devstack || code=1; \
	exit $$code
