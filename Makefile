# The commands of a checkout. `make demo` and `make test` work on a bare Debian 12 or 13; see README.md.
.PHONY: demo up stop status doctor test test-sip stress check bench bench-nominatim lock clean help
.DEFAULT_GOAL := help
PY := .venv/bin/python -P

help:
	@echo "make demo    install what is missing, start everything, play matters of every kind, say where to look"
	@echo "make stop    stop exactly what was started here"
	@echo "make test    every check and every test (about 15 minutes at most)"
	@echo "make stress  kill and walk at random, the whole of it (about half an hour)"
	@echo "make test-sip  ring the desk through kamailio, called by sipp (a minute)"
	@echo "make check   the fast checks only (under a minute)"
	@echo "make bench   measure, and print ratios"
	@echo "make bench-nominatim  ask Nominatim what the geocoder is asked (a quarter of an hour)"
	@echo "make doctor  look for what silently goes wrong"
	@echo "make lock    pin newer versions of Python and npm packages"
	@echo "make clean   stop, and remove data, caches, environment and assets"

demo:
	@./setup.sh demo
	@.venv/bin/wangge demo

up:
	@./setup.sh demo
	@.venv/bin/wangge up

stop:
	@if [ -x .venv/bin/wangge ]; then .venv/bin/wangge down; fi

status doctor:
	@./setup.sh demo
	@.venv/bin/wangge $@

check:
	@./setup.sh check
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@.venv/bin/lint-imports --no-logo
	@$(PY) -m mypy
	@$(PY) -m pytest tests/unit -q -n auto

# The last line must be pytest's own, so the servers are stopped without a word.
test:
	@./setup.sh test
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@.venv/bin/lint-imports --no-logo
	@.venv/bin/deptry . --config .ci/deptry.toml
	@$(PY) -m mypy
	@.venv/bin/wangge with-servers -- sh -c '$(PY) -m alembic check && exec $(PY) -m pytest -n 2 --dist loadfile $(ARGS)'

# WANGGE_SEED=<number> walks again where an earlier run found something.
stress:
	@./setup.sh test
	@.venv/bin/wangge with-servers -- env WANGGE_STRESS=1 $(PY) -m pytest -s --timeout 0 \
	    tests/database/test_faults.py tests/database/test_flood.py tests/database/test_stateful.py $(ARGS)

# Real SIP on loopback: kamailio and sipp are installed for it, and no service of theirs is started.
test-sip:
	@./setup.sh sip
	@.venv/bin/wangge with-servers -- $(PY) -m pytest -s tests/sip/calls.py $(ARGS)

bench:
	@./setup.sh bench
	@.venv/bin/wangge with-servers -- $(PY) -m bench $(ARGS)

# Wants the given data of a real district; Nominatim and its database stay under var/.
bench-nominatim:
	@./setup.sh nominatim
	@$(PY) -m bench.nominatim_peer $(ARGS)

lock:
	@./setup.sh check
	@cd requirements && for list in uv app dev; do \
	    ../$(PY) -m uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	        --no-emit-index-url $$list.in -o $$list.txt || exit 1; done
	@npm update --ignore-scripts --no-audit --no-fund
	@$(PY) -m api.vendor --pin
	@./setup.sh check

# The data may lie elsewhere (see docs/decisions/0010), so the program removes it itself.
clean:
	@if [ -x .venv/bin/wangge ]; then .venv/bin/wangge down --erase; fi
	@rm -rf .venv node_modules api/static/vendor .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@if [ -d var ]; then rm -rf var; fi
