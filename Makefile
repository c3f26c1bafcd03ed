# osa_validation: the extension's build (PGXS), and the project's commands.
# `make demo` and `make check` start from a bare Debian 12, as root.

EXTENSION = osa_validation
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'.*/\1/p" $(EXTENSION).control)

MODULE_big = $(EXTENSION)
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c)))
SHLIB_LINK = -lcurl -larchive

# The server's headers are not ours to warn about: -isystem hides theirs.
PG_CPPFLAGS = -I$(srcdir)/src -isystem $(includedir_server) \
	'-DPGDLLEXPORT=__attribute__((visibility("default")))' -include exports.h \
	'-DOSA_VERSION="$(EXTVERSION)"'
PG_CFLAGS = -fvisibility=hidden -Wall -Wextra -Werror -MMD -MP

SQL_PIECES := $(addprefix sql/,$(shell cat sql/ORDER))
DATA = $(wildcard sql/$(EXTENSION)--*--*.sql)
DATA_built = $(EXTENSION)--$(EXTVERSION).sql
EXTRA_CLEAN = $(OBJS:.o=.d) results regression.diffs regression.out tmp_check log

REGRESS = $(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql)))
REGRESS_OPTS = --inputdir=test

ENGINE ?= podman
export ENGINE

override with_llvm := no
PG_CONFIG ?= $(firstword $(wildcard /usr/lib/postgresql/15/bin/pg_config) pg_config)
PGXS := $(wildcard $(shell $(PG_CONFIG) --pgxs 2>/dev/null))

# pgxs.mk has a target check of its own, which only says that it has none.
ifneq ($(filter check,$(MAKECMDGOALS)),)
all install installcheck clean:
	$(MAKE) $@
else ifneq ($(PGXS),)
include $(PGXS)
else
# Nothing is installed yet: the commands below do that first.
all install installcheck:
	@echo "No PostgreSQL 15 server headers here: apt-get install postgresql-server-dev-15," >&2
	@echo "or run make check, make demo or make up, which install what they need." >&2
	@exit 1
clean:
	rm -f $(OBJS) $(OBJS:.o=.d) $(EXTENSION).so $(DATA_built)
.DEFAULT_GOAL := all
endif

# The server was built with gcc; clang does not know all of its flags.
ifneq ($(findstring clang,$(CC)),)
override CFLAGS := $(filter-out -Wimplicit-fallthrough=3 -Wno-format-truncation -Wno-stringop-truncation \
	-fexcess-precision=standard,$(CFLAGS))
endif

-include $(OBJS:.o=.d)
$(OBJS): Makefile src/exports.h $(EXTENSION).control

# Written whole or not at all: an interrupted make leaves no half script.
$(EXTENSION)--$(EXTVERSION).sql: sql/ORDER $(EXTENSION).control $(SQL_PIECES)
	cat $(SQL_PIECES) >$@.tmp && mv $@.tmp $@

ifneq ($(filter check,$(MAKECMDGOALS)),)
check:
	@test/env/run.sh $@
endif
check-full demo up down psql bench:
	@test/env/run.sh $@
check-model:
	@test/env/packages.sh spin gcc libc6-dev
	@doc/model/check.sh

clean: clean-state
clean-state:
	@test/env/run.sh clean

.PHONY: check check-full check-model demo up down psql bench clean-state
