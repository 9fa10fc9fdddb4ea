# GNU make 3.81 (macOS) and a POSIX shell are enough; Python >= 3.11 and a package index do the rest.
# Without Node, Go or Chromium a target says what it left out, and passes; with CI set it fails.
SHELL := /bin/sh

# what a user sets for other programs in Python, and what would hide packages, stop warnings, or switch off asserts here
unexport PYTHONHOME PYTHONOPTIMIZE PYTHONPATH PYTHONWARNINGS

# the interpreter the environments are made with; by hand: make .venv PYTHON=/path/to/python3.13
PYTHON :=

BIN := .venv/bin
# npm, whose settings stay the user's (the registry, its certificates, the proxy, the cache), but for where packages go, how
# the scripts of package.json run, and that it does what it is asked
NPM = npm --no-global --location=project --workspaces=false --script-shell=sh --node-options= --ignore-scripts \
  --no-dry-run --loglevel error
# and but for what leaves packages out, puts others in, or takes them for too new: the lock has decided
AS_LOCKED = --include=dev --include=optional --include=peer --os= --cpu= --libc= --min-release-age=0 \
  --package-lock --no-package-lock-only --no-legacy-peer-deps --no-engine-strict --install-strategy=hoisted --bin-links \
  --prefer-offline --no-audit --no-fund
# vite builds something else where it is set
unexport NODE_ENV
# what `make up` serves, where Node could build it
PAGE := frontend/console/dist/index.html
# the package, built
PACKAGE := frontend/dist/src/index.js
# the sample app has its packages, this one among them
SAMPLE := examples/app/node_modules/hourbank-frontend/package.json

.DEFAULT_GOAL := help
.PHONY: help demo up down sample frontend test test-all test-python test-page test-frontend test-beside test-browser packages-of-tests package check lint types imports definitions schema template workflows plan preview deploy test-engine test-sam simulate contention bench measured docs release clean .venv .venv-emulator
.SUFFIXES:

help:
	@echo 'try'
	@echo '  make demo         play every story of a service request on this machine'
	@echo '  make up           the same deployment, left running until Ctrl-C or make down'
	@echo '  make down         end what make up started'
	@echo '  make sample       an app on Amplify and React, on what make up started (Node)'
	@echo '  make frontend     the browser'"'"'s side: the package and the page (Node)'
	@echo 'develop'
	@echo '  make test         what a change is likely to break; ARGS="-k timeout" picks some of pytest'"'"'s'
	@echo '  make test-all     all tests, the browser'"'"'s side too'
	@echo '  make check        format, lint, types, imports, definitions, schema, template, package, workflows'
	@echo '  make workflows    actionlint over the workflows on GitHub (Go)'
	@echo '  make test-frontend  the package for the browser: types, templates, tests (Node)'
	@echo '  make test-beside  the packed package beside Angular 20 to 22, React 18 and 19, and neither (Node)'
	@echo '  make test-browser  the package and the page on a local run (Node, and Chromium for the page)'
	@echo '  make test-engine  the program under the real Pulumi CLI that PULUMI_ENGINE names'
	@echo '  make test-sam     the commands of docs/deploy/sam.md with the real SAM CLI and AWS CLI'
	@echo '  make simulate     every fault at every point of every path; ARGS="--only TIMED_OUT" picks some'
	@echo '  make contention   50 threads on the ledger: DynamoDB Local (Java, Maven), the emulator; how fast'
	@echo '  make bench        how fast: evaluation, imports, requests a second; ARGS=--tests the tests too'
	@echo '  make docs         what is generated of docs/: pictures, configuration, the bills of months'
	@echo '  make measured     what a request uses, measured again for those bills; then make docs'
	@echo 'ship'
	@echo '  make plan         what a change changes, without a cloud: make plan BASE=main'
	@echo '  make preview      what pulumi up would do to a stack: make preview STACK=dev'
	@echo '  make deploy       pulumi up: make deploy STACK=dev, which asks; ARGS=--yes does not'
	@echo '  make release      commit, tag, wheel, npm package, sums: make release VERSION=1.2.3'
	@echo 'environments'
	@echo '  make .venv        the locked environment (every target makes it when it is needed)'
	@echo '  make clean        remove environments and caches'

demo: .venv .venv-emulator
	@$(BIN)/hourbank demo $(ARGS)

up: .venv .venv-emulator
	@if node -e '0' >/dev/null 2>&1 && npm --version >/dev/null 2>&1; then \
	  $(MAKE) --silent $(PAGE) || echo 'make up: the page was not built (see above); everything else runs' >&2; \
	fi
	@$(BIN)/hourbank up $(ARGS)

down: .venv
	@$(BIN)/hourbank down $(ARGS)

sample:
	@if node -e '0' >/dev/null 2>&1 && npm --version >/dev/null 2>&1; then \
	  $(MAKE) --silent $(SAMPLE) && exec $(NPM) --prefix examples/app --silent start; \
	else \
	  echo 'make sample: Node is not here: install Node 20.19 or newer' >&2; exit 1; \
	fi

# what commands print is compared letter by letter, whatever the locale
test test-python test-engine test-sam contention: export PYTHONUTF8 := 1

test: .venv .venv-emulator
	$(BIN)/pytest --numprocesses auto --dist loadgroup $(ARGS)
	@if node -e '0' >/dev/null 2>&1 && npm --version >/dev/null 2>&1; then \
	  $(MAKE) --silent $(PACKAGE) && $(NPM) --prefix frontend run --silent test:quick; \
	else \
	  echo "make test: Node is not here, so the browser's side was not tested" >&2; \
	  [ -z "$$CI" ]; \
	fi

# the npm packages that tests in Python run: a second interpreter of the state language, and Amplify's own
packages-of-tests:
	@if node -e '0' >/dev/null 2>&1 && npm --version >/dev/null 2>&1; then \
	  $(MAKE) --silent tools/asl/node_modules/.locked tools/amplify/node_modules/.locked; \
	else \
	  echo "make packages-of-tests: Node is not here, so the state machines are not run in a second interpreter, and Amplify bundles nothing" >&2; \
	  [ -z "$$CI" ]; \
	fi

test-all: test-python test-page

test-python: .venv .venv-emulator packages-of-tests
	$(BIN)/pytest --numprocesses auto --dist loadgroup -m "not engine and not sam" --hypothesis-profile thorough $(ARGS)

# ARGS is pytest's alone in `test-all`
test-page:
	@$(MAKE) --silent test-frontend
	@$(MAKE) --silent test-beside
	@$(MAKE) --silent test-browser ARGS=

frontend:
	@if node -e '0' >/dev/null 2>&1 && npm --version >/dev/null 2>&1; then \
	  $(MAKE) --silent $(PAGE) $(PACKAGE); \
	else \
	  echo "make frontend: Node is not here, so the browser's side was not built"; \
	fi

# what needs no emulator
test-frontend:
	@if node -e '0' >/dev/null 2>&1 && npm --version >/dev/null 2>&1; then \
	  $(MAKE) --silent $(SAMPLE) && $(NPM) --prefix examples/app run --silent check && \
	  $(NPM) --prefix frontend run --silent check && $(NPM) --prefix frontend run --silent test; \
	else \
	  echo "make test-frontend: Node is not here, so the browser's side was not tested" >&2; \
	  [ -z "$$CI" ]; \
	fi

# the package as an app gets it: installed beside each framework, built and tested with it; each app's packages are locked
APPS := angular-20 angular-21 angular-22 react-18 react-19 no-framework

test-beside:
	@if node -e '0' >/dev/null 2>&1 && npm --version >/dev/null 2>&1; then \
	  $(MAKE) --silent $(PACKAGE) $(APPS:%=frontend/beside/%/node_modules/.locked) && \
	  NPM='$(NPM) $(AS_LOCKED)' node frontend/beside/check.mjs $(APPS); \
	else \
	  echo "make test-beside: Node is not here, so the package was not tried beside other versions of Angular and React" >&2; \
	  [ -z "$$CI" ]; \
	fi

# the package and the page, on local runs of their own
test-browser: .venv .venv-emulator
	@if node -e '0' >/dev/null 2>&1 && npm --version >/dev/null 2>&1; then \
	  $(MAKE) --silent frontend $(SAMPLE) && $(NPM) --prefix frontend run --silent test:emulator || exit 1; \
	  CHROMIUM=$${CHROMIUM:-$$(command -v chromium || command -v chromium-browser || command -v google-chrome)}; \
	  if [ -x "$$CHROMIUM" ]; then \
	    export CHROMIUM; $(NPM) --prefix frontend run --silent test:browser -- $(ARGS); \
	  else \
	    echo 'make test-browser: Chromium is not here, so the page was not tested: install it, or set CHROMIUM to its path' >&2; \
	    [ -z "$$CI" ]; \
	  fi; \
	else \
	  echo "make test-browser: Node is not here, so the browser's side was not tested on a local run" >&2; \
	  [ -z "$$CI" ]; \
	fi

$(PAGE): frontend/node_modules/.locked $(shell find frontend/src frontend/console -type f -not -path '*/dist/*')
	@echo 'building the page'; $(NPM) --prefix frontend run --silent build:console

$(PACKAGE): frontend/node_modules/.locked $(shell find frontend/src frontend/angular frontend/react -type f) $(wildcard frontend/*.json)
	@rm -rf frontend/dist; $(NPM) --prefix frontend run --silent build

# the package packed, as an app gets it; its time is the archive's, which is the same for ever
$(SAMPLE): examples/app/node_modules/.locked $(PACKAGE)
	@rm -rf examples/app/node_modules/hourbank-frontend
	@(cd frontend && $(NPM) pack --pack-destination ../examples/app >/dev/null) && cd examples/app && \
	$(NPM) $(AS_LOCKED) install --no-save ./hourbank-frontend-*.tgz >/dev/null && rm hourbank-frontend-*.tgz
	@touch $@

# what the lock pins, integrity checked, from the registry that npm is set to
%/node_modules/.locked: %/package-lock.json
	@echo 'installing the locked npm packages into $* (once)'
	@$(NPM) ci --prefix $* $(AS_LOCKED)
	@touch $@

# one of them alone: make types; all of them despite a failure: make -k check
check: lint types imports definitions schema template package workflows

lint: .venv
	$(BIN)/ruff format --check --quiet
	$(BIN)/ruff check --quiet

types: .venv
	$(BIN)/pyrefly check --summary=none

imports: .venv
	@echo $(BIN)/lint-imports; $(BIN)/lint-imports >.venv/imports.txt 2>&1 || { cat .venv/imports.txt; exit 1; }
	@$(BIN)/python tools/floors.py

# a file between, and no pipe: a pipe would hide that the first half failed
definitions: .venv
	@$(BIN)/python tools/asl/definitions.py >.venv/definitions.json
	@if node -e '0' >/dev/null 2>&1 && npm --version >/dev/null 2>&1; then \
	  $(MAKE) --silent tools/asl/node_modules/.locked && \
	  echo 'node tools/asl/validate.mjs' && node tools/asl/validate.mjs <.venv/definitions.json; \
	else \
	  echo 'make definitions: Node is not here, so the npm validators of the state machines did not run' >&2; \
	  [ -z "$$CI" ]; \
	fi

# the schemas, and the export for Gen 2, in an app's backend, and in the sample app's; build is where tsc finds the packages
schema: .venv
	@if node -e '0' >/dev/null 2>&1 && npm --version >/dev/null 2>&1; then \
	  $(MAKE) --silent tools/amplify/node_modules/.locked && \
	  rm -rf tools/amplify/build && mkdir tools/amplify/build && \
	  cp -R tools/amplify/gen2 tools/amplify/build/amplify && mkdir tools/amplify/build/amplify/data && \
	  cp amplify/data-resource.ts tools/amplify/build/amplify/data/resource.ts && \
	  mkdir tools/amplify/build/first-hours && printf '{}' >tools/amplify/build/first-hours/package.json && \
	  cp amplify/first-hours/gen1/custom.js tools/amplify/build/first-hours/custom.js && \
	  $(BIN)/hourbank export amplify-gen2 --into tools/amplify/build/amplify >/dev/null && \
	  mkdir tools/amplify/build/app && cp -R tools/amplify/build/amplify tools/amplify/build/app/amplify && \
	  cp -R amplify/first-hours/gen2 tools/amplify/build/app/amplify/auth/post-confirmation && \
	  cp examples/app/amplify/backend.ts tools/amplify/build/app/amplify/backend.ts && \
	  cp examples/app/amplify/auth/resource.ts tools/amplify/build/app/amplify/auth/resource.ts && \
	  $(BIN)/python -c 'from hourbank.local.page import amplify_schema; print(amplify_schema.load()[1])' \
	    >tools/amplify/build/stand-in.graphql && \
	  echo 'tsc --project tools/amplify; node tools/amplify/check.mjs, synth.mjs, trigger.mjs' && \
	  tools/amplify/node_modules/.bin/tsc --project tools/amplify && export JSII_DEPRECATED=quiet && \
	  node tools/amplify/check.mjs && node tools/amplify/synth.mjs && node tools/amplify/trigger.mjs; \
	else \
	  echo "make schema: Node is not here, so Amplify's own packages did not read amplify/ and the export for Gen 2" >&2; \
	  [ -z "$$CI" ]; \
	fi

# the package as npm would publish it, for bundlers and TypeScript: it is ESM alone
package:
	@if node -e '0' >/dev/null 2>&1 && npm --version >/dev/null 2>&1; then \
	  $(MAKE) --silent $(PACKAGE) && NPM='$(NPM)' node frontend/tools/package.mjs; \
	else \
	  echo "make package: Node is not here, so publint and attw did not read the browser's side" >&2; \
	  [ -z "$$CI" ]; \
	fi

template: .venv
	$(BIN)/python tools/template.py >.venv/template.json
	$(BIN)/cfn-lint --template .venv/template.json

# by `go run`, which fetches it as a Go module; its version is pinned here alone
ACTIONLINT := github.com/rhysd/actionlint/cmd/actionlint@v1.7.7

workflows:
	@if go version >/dev/null 2>&1; then \
	  echo 'go run $(ACTIONLINT)' && go run $(ACTIONLINT); \
	else \
	  echo 'make workflows: Go is not here, so actionlint did not read .github/workflows' >&2; \
	  [ -z "$$CI" ]; \
	fi

plan: .venv
	@$(BIN)/hourbank plan --base "$(or $(BASE),main)" $(ARGS)

# uv on the path, because the program's environment is uv's: a private one where make installed that
define WITH_PULUMI
@if [ -z "$(STACK)" ]; then \
  echo 'make $@: which stack? Name it: make $@ STACK=dev' >&2; exit 1; \
elif ! pulumi version >/dev/null 2>&1; then \
  echo 'make $@: the Pulumi CLI is not here: install it, see https://www.pulumi.com/docs/install/' >&2; exit 1; \
fi; \
PATH="$$PWD/.uv/bin:$$PATH"; export PATH; exec pulumi
endef

preview: .venv
	$(WITH_PULUMI) preview --diff --stack "$(STACK)" --non-interactive --color never $(ARGS)

deploy: .venv
	$(WITH_PULUMI) up --stack "$(STACK)" $(ARGS)

test-engine: .venv .venv-emulator
	@if [ -z "$$PULUMI_ENGINE" ]; then \
	  echo 'make test-engine: PULUMI_ENGINE is not set: set it to the path of a pulumi binary'; \
	elif [ ! -x "$$PULUMI_ENGINE" ]; then \
	  echo "make test-engine: PULUMI_ENGINE is $$PULUMI_ENGINE, which is not a program" >&2; exit 1; \
	else \
	  exec $(BIN)/pytest -m engine $(ARGS); \
	fi

test-sam: .venv .venv-emulator tools/sam/.venv/.locked
	$(BIN)/pytest -m sam $(ARGS)

simulate: .venv
	@$(BIN)/hourbank simulate $(ARGS)

contention: .venv .venv-emulator
	@$(BIN)/pytest --quiet -m thorough tests/contention $(ARGS)

bench: .venv .venv-emulator
	@$(BIN)/python -m bench $(ARGS)

# a release's commit, tag and files, or nothing of it
release: .venv
	@NPM='$(NPM)' $(BIN)/python tools/release.py "$(VERSION)"

docs: .venv
	@mkdir -p docs/pictures
	@$(BIN)/hourbank diagram --out docs/pictures
	@$(BIN)/hourbank diagram --format mermaid --out docs/pictures
	@$(BIN)/python tools/configuration.py >docs/configuration.md
	@$(BIN)/python tools/scale.py

# what a request uses, from which `hourbank cost --requests-per-month` works out a month
measured: .venv .venv-emulator
	@$(BIN)/python tools/measured.py

clean:
	rm -rf .venv .venv-emulator tools/sam/.venv .uv .dynamodb-local .pytest_cache .ruff_cache .import_linter_cache .hypothesis tools/asl/node_modules tools/amplify/node_modules tools/amplify/build
	rm -rf examples/app/node_modules examples/app/dist
	rm -rf frontend/beside/*/node_modules frontend/beside/*/build frontend/node_modules frontend/dist frontend/console/dist frontend/test-results
	find . -type d -name __pycache__ -prune -exec rm -rf {} +

.venv: .venv/.locked
.venv-emulator: .venv-emulator/.locked

# what is installed, and where from, is told in tools/install.py
define INSTALL
@if [ -n "$(PYTHON)" ]; then set -- "$(PYTHON)"; else set -- python3 python python3.14 python3.13 python3.12 python3.11; fi; \
for python do \
  if "$$python" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
    exec "$$python" -I tools/install.py $(@:/.locked=); \
  fi; \
done; \
found=$$("$$1" -I -c 'import platform; print(platform.python_version())' 2>/dev/null); \
echo "hourbank needs Python 3.11 or newer, and $$1 is $${found:-not there}: install one, or name it: make .venv PYTHON=/path/to/python3.13" >&2; \
exit 1
endef

.venv/.locked: uv.lock pyproject.toml
	@echo 'installing the locked packages into .venv (once)'
	$(INSTALL)

# after the other one: with make -j both would install uv
.venv-emulator/.locked: uv.lock pyproject.toml | .venv/.locked
	@echo 'installing the emulator into .venv-emulator (once)'
	$(INSTALL)

tools/sam/.venv/.locked: tools/sam/uv.lock tools/sam/pyproject.toml | .venv/.locked
	@echo 'installing the SAM CLI and the AWS CLI into tools/sam/.venv (once)'
	$(INSTALL)
