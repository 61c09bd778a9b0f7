# pgAgentOS: build and install through PGXS, PostgreSQL's own extension build system.
# "make help" lists the targets. Another server: make PG_CONFIG=/path/to/pg_config, or make PGVER=15.

EXTENSION   = pgagentos
EXTVERSION := $(shell sed -n "s/^default_version *= *'\([^']*\)'.*/\1/p" $(EXTENSION).control)

SQL_FILES  := $(shell scripts/sql_order)
ifneq ($(.SHELLSTATUS),0)
$(error the SQL files cannot be put in order, see the line above)
endif

DATA_built   = $(EXTENSION)--$(EXTVERSION).sql
EXTRA_CLEAN  = $(EXTENSION)-*-sql-only.sql build results regression.diffs regression.out
REGRESS      = installed
REGRESS_OPTS = --inputdir=tests/installcheck --load-extension=plpython3u --load-extension=vector \
               --load-extension=pgcrypto --load-extension=$(EXTENSION)

# Which server: see scripts/find_pg_config.
export PGVER
PG_CONFIG   ?= $(or $(shell scripts/find_pg_config 2>/dev/null),pg_config)
PGXS        := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)

.DEFAULT_GOAL := all

ifneq ($(wildcard $(PGXS)),)
include $(PGXS)
else
all install install-deps install-kernel installcheck uninstall:
	@echo 'No PostgreSQL found ($(PG_CONFIG) does not run). Install one with scripts/setup, or name it: make $@ PG_CONFIG=/path/to/pg_config' >&2; exit 1
endif

# The Python that plpython3 is linked with, which need not be the python3 on PATH.
# (PYTHON itself is taken: PGXS sets it.)
PYVER          ?= $(shell ldd '$(pkglibdir)/plpython3$(DLSUFFIX)' 2>/dev/null | sed -n 's/.*libpython\(3\.[0-9]*\)\.so.*/\1/p' | head -n 1)
BACKEND_PYTHON ?= $(firstword $(wildcard /usr/bin/python$(PYVER)) python$(PYVER))
PIP_FLAGS      ?=

python_home  = $(pkglibdir)/$(EXTENSION)
kernel       = $(DESTDIR)$(python_home)/kernel
site         = $(DESTDIR)$(python_home)/site-$(PYVER)
LOCK         = plpy_src/requirements/backend.lock

# A .pyc that is never checked against its source stays valid whatever a packaging step does to file
# times, and the backend may not write one itself. -s and -p keep the build path out of it.
BYTE_COMPILE = env -u PYTHONDONTWRITEBYTECODE $(BACKEND_PYTHON) -m compileall -q -f \
               --invalidation-mode unchecked-hash -s '$(DESTDIR)' -p /

$(EXTENSION)--$(EXTVERSION).sql: $(SQL_FILES) $(EXTENSION).control scripts/sql_order
	@for file in $(SQL_FILES); do printf '\n-- %s\n' "$$file"; cat "$$file" || exit 1; done > $@.new
	@mv -f $@.new $@

# The edition for a database without extension files and without PL/Python: docs/sql_only.md.
SQL_ONLY = $(EXTENSION)-$(EXTVERSION)-sql-only.sql

$(SQL_ONLY): $(SQL_FILES) $(wildcard sql/sql_only/*) $(EXTENSION).control scripts/sql_order $(wildcard scripts/*sql_*.py)
	@scripts/build_sql_only.py $@.new
	@mv -f $@.new $@

##: Build and install
setup: ## Install system packages, Python packages and the extension (root or sudo; Debian)
	@scripts/setup

install: install-kernel install-deps ## Install control file, SQL, kernel and its Python packages (DESTDIR works)

.PHONY: require-python
require-python:
	@test -n '$(PYVER)' || { echo 'PL/Python is missing: no plpython3$(DLSUFFIX) in $(pkglibdir). Install postgresql-plpython3-$(MAJORVERSION), or run scripts/setup.' >&2; exit 1; }

install-kernel: require-python ## Install the Python kernel alone
	@set -e; umask 022; rm -rf '$(kernel).new'; \
	find plpy_src/$(EXTENSION) -type f ! -path '*/__pycache__/*' | while read -r file; do \
	  $(INSTALL) -D -m 644 "$$file" '$(kernel).new/'"$${file#plpy_src/}" || exit 1; \
	done; \
	$(BYTE_COMPILE) '$(kernel).new'; \
	echo '$(EXTVERSION)' > '$(kernel).new/VERSION'; \
	rm -rf '$(kernel)'; mv '$(kernel).new' '$(kernel)'

install-deps: require-python ## Install the hash-locked Python packages alone, into a directory of our own
	@if [ "$$(cat '$(site)/.lock' 2>/dev/null)" = "$$(sha256sum < $(LOCK))" ]; then \
	  echo 'Python packages: up to date'; \
	else \
	  set -e; umask 022; unset PYTHONDONTWRITEBYTECODE PYTHONPATH PYTHONHOME; \
	  $(BACKEND_PYTHON) -m pip --version >/dev/null 2>&1 || { \
	    echo 'pip is missing for $(BACKEND_PYTHON). Install python3-pip, or run scripts/setup.' >&2; exit 1; }; \
	  echo 'Python packages: installing into $(site)'; \
	  rm -rf '$(site).new'; $(MKDIR_P) '$(DESTDIR)$(python_home)'; \
	  $(BACKEND_PYTHON) -m pip install -qq --no-input --disable-pip-version-check \
	    --root-user-action=ignore --only-binary=:all: --no-compile $(PIP_FLAGS) \
	    --target '$(site).new' --no-deps --require-hashes -r $(LOCK); \
	  rm -rf '$(site).new/bin'; \
	  $(BYTE_COMPILE) '$(site).new'; \
	  sha256sum < $(LOCK) > '$(site).new/.lock'; \
	  rm -rf '$(site)'; mv '$(site).new' '$(site)'; \
	fi

sql-only: $(SQL_ONLY) ## Write the edition that is one SQL script, for a database without extension files (docs/sql_only.md)
	@echo 'Written: $(SQL_ONLY). Run it as the role that is to own it: psql -d mydb -f $(SQL_ONLY)'

uninstall: uninstall-python ## Remove everything that install put there
.PHONY: uninstall-python
uninstall-python:
	rm -rf '$(DESTDIR)$(python_home)'

installcheck: ## Check the installed extension in a running server (PGHOST, PGUSER ... say which)

##: Run and check
demo: ## Set up, start a private server, let an agent answer one question (scripts/demo)
	@scripts/demo

test: ## Set up, then run every test; ARGS go to pytest (scripts/test)
	@scripts/test $(ARGS)

lint: ## Run shellcheck, ruff, mypy --strict and pgspot (scripts/lint)
	@scripts/lint

bench: ## Run the standard turn against its peers and print the ratios
	@bench/run $(ARGS)

snapshot: ## Rewrite the golden schema that a contract test compares with (scripts/snapshot)
	@scripts/snapshot

lock: ## Rewrite the hash-locked requirements from the .in files (needs uv)
	@scripts/lock

help: ## Show this list
	@awk -F ':.*## ' '/^##: / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' Makefile

.PHONY: setup install install-kernel install-deps sql-only uninstall installcheck demo test lint bench snapshot lock help
