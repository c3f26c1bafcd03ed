-- What an administrator defines: this installation, runners, hooks, pipelines.

CREATE TABLE @extschema@.osa_install (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    install_id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
    node_id text,
    node_mark text,
    database_oid oid,
    timeline integer,
    epoch integer NOT NULL DEFAULT 0 CHECK (epoch >= 0),
    paused boolean NOT NULL DEFAULT false,
    stop_running boolean NOT NULL DEFAULT false,
    mismatch text CHECK (mismatch IN ('fork', 'succession')),
    reason text,
    changed_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
INSERT INTO @extschema@.osa_install (database_oid)
SELECT oid FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database();

COMMENT ON TABLE @extschema@.osa_install IS
'This installation: who its rows and containers belong to, and whether it is paused. One row, not dumped.';
COMMENT ON COLUMN @extschema@.osa_install.singleton IS 'Always true: the table has one row.';
COMMENT ON COLUMN @extschema@.osa_install.install_id IS 'Minted by CREATE EXTENSION; in the labels of every container.';
COMMENT ON COLUMN @extschema@.osa_install.node_id IS 'Identity of the data directory this installation runs in; NULL until a worker has run.';
COMMENT ON COLUMN @extschema@.osa_install.node_mark IS 'What a copied data directory does not share: machine and inode of the identity file.';
COMMENT ON COLUMN @extschema@.osa_install.database_oid IS 'Oid of the database this installation was created in; another one means a copy.';
COMMENT ON COLUMN @extschema@.osa_install.timeline IS 'Timeline of the server''s WAL when a worker last ran; another one means promotion or recovery to a point in time.';
COMMENT ON COLUMN @extschema@.osa_install.epoch IS 'Raised by each succession (osa_resume(take_over => true)).';
COMMENT ON COLUMN @extschema@.osa_install.paused IS 'True: nothing is claimed. Set by osa_pause() or by a detected copy, cleared by osa_resume().';
COMMENT ON COLUMN @extschema@.osa_install.stop_running IS 'True while paused with stop_running: running containers are stopped and their steps run again after osa_resume().';
COMMENT ON COLUMN @extschema@.osa_install.mismatch IS 'How a detected copy would be taken over: fork (new identity) or succession (same identity).';
COMMENT ON COLUMN @extschema@.osa_install.reason IS 'Why it is paused.';
COMMENT ON COLUMN @extschema@.osa_install.changed_at IS 'When this row last changed.';

CREATE TABLE @extschema@.osa_runner (
    name text PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9_]{0,39}$'),
    kind text NOT NULL CHECK (kind IN ('docker', 'noop')),
    endpoint text,
    max_in_flight integer CHECK (max_in_flight BETWEEN 1 AND 1000),
    max_memory bigint CHECK (max_memory > 0),
    max_cpu numeric CHECK (max_cpu > 0),
    accept_unenforced boolean NOT NULL DEFAULT false,
    enabled boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
SELECT pg_catalog.pg_extension_config_dump('@extschema@.osa_runner', '');
COMMENT ON TABLE @extschema@.osa_runner IS
'Where hooks run. The runner "local" exists without a row: the engine of osa_validation.engine_socket. A row named local overrides it.';
COMMENT ON COLUMN @extschema@.osa_runner.name IS 'Name used in pipelines.';
COMMENT ON COLUMN @extschema@.osa_runner.kind IS 'docker: an engine that speaks the Docker API (Docker or Podman). noop: passes every record at once without a container.';
COMMENT ON COLUMN @extschema@.osa_runner.endpoint IS 'unix:///absolute/path of the engine''s socket; NULL: the setting osa_validation.engine_socket.';
COMMENT ON COLUMN @extschema@.osa_runner.max_in_flight IS 'Most hooks running at once; NULL: 2 x the machine''s cores (noop: 100).';
COMMENT ON COLUMN @extschema@.osa_runner.max_memory IS 'Ceiling of one hook''s memory, in bytes; NULL: the setting osa_validation.max_memory.';
COMMENT ON COLUMN @extschema@.osa_runner.max_cpu IS 'Ceiling of one hook''s cpu, in cores; NULL: the machine''s cores.';
COMMENT ON COLUMN @extschema@.osa_runner.accept_unenforced IS 'True: run hooks even where the engine silently drops limits (rootless on cgroup v1).';
COMMENT ON COLUMN @extschema@.osa_runner.enabled IS 'False: nothing new starts on it; what runs is finished.';
COMMENT ON COLUMN @extschema@.osa_runner.created_at IS 'When it was added.';

CREATE TABLE @extschema@.osa_hook (
    name text PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9_]{0,39}$'),
    title text,
    columns jsonb NOT NULL DEFAULT '[]' CHECK (pg_catalog.jsonb_typeof(columns) = 'array'),
    cardinality text NOT NULL DEFAULT 'none' CHECK (cardinality IN ('none', 'one', 'many')),
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
SELECT pg_catalog.pg_extension_config_dump('@extschema@.osa_hook', '');
COMMENT ON TABLE @extschema@.osa_hook IS 'A check or feature extraction by name; its images are osa_hook_release rows.';
COMMENT ON COLUMN @extschema@.osa_hook.name IS 'Name, ^[a-z][a-z0-9_]{0,39}$.';
COMMENT ON COLUMN @extschema@.osa_hook.title IS 'Title for people.';
COMMENT ON COLUMN @extschema@.osa_hook.columns IS 'Declared feature columns: [{"name","type","unit","nullable"}, ...].';
COMMENT ON COLUMN @extschema@.osa_hook.cardinality IS 'Features a record: none, one (0 or 1) or many.';
COMMENT ON COLUMN @extschema@.osa_hook.created_at IS 'When it was registered.';

CREATE TABLE @extschema@.osa_hook_release (
    id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    hook text NOT NULL REFERENCES @extschema@.osa_hook (name),
    version text NOT NULL,
    image text NOT NULL,
    image_id text,
    config jsonb NOT NULL DEFAULT '{}' CHECK (pg_catalog.jsonb_typeof(config) = 'object'),
    limits jsonb NOT NULL DEFAULT '{}' CHECK (pg_catalog.jsonb_typeof(limits) = 'object'),
    source_ref text,
    built_by text,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    UNIQUE (hook, version)
);
SELECT pg_catalog.pg_extension_config_dump('@extschema@.osa_hook_release', '');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.osa_hook_release_id_seq', '');
COMMENT ON TABLE @extschema@.osa_hook_release IS 'An immutable version of a hook: image, configuration, limits. Only image_id is written later, once.';
COMMENT ON COLUMN @extschema@.osa_hook_release.id IS 'Id.';
COMMENT ON COLUMN @extschema@.osa_hook_release.hook IS 'Hook.';
COMMENT ON COLUMN @extschema@.osa_hook_release.version IS 'Version, unique a hook.';
COMMENT ON COLUMN @extschema@.osa_hook_release.image IS 'Image reference as given.';
COMMENT ON COLUMN @extschema@.osa_hook_release.image_id IS 'Id of the image, pinned by the worker at its first use; containers are created by it.';
COMMENT ON COLUMN @extschema@.osa_hook_release.config IS 'Configuration object; config.json is this overlaid by the run''s.';
COMMENT ON COLUMN @extschema@.osa_hook_release.limits IS 'Limits, normalised: bytes, seconds, cores (see osa_add_release).';
COMMENT ON COLUMN @extschema@.osa_hook_release.source_ref IS 'Where its source is, for people (for example a commit).';
COMMENT ON COLUMN @extschema@.osa_hook_release.built_by IS 'Who or what built it, for people.';
COMMENT ON COLUMN @extschema@.osa_hook_release.created_at IS 'When it was added.';

CREATE TABLE @extschema@.osa_hook_live (
    id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    hook text NOT NULL REFERENCES @extschema@.osa_hook (name),
    release_id bigint NOT NULL REFERENCES @extschema@.osa_hook_release (id),
    previous_id bigint,
    is_current boolean NOT NULL DEFAULT true,
    set_by text NOT NULL,
    set_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
CREATE UNIQUE INDEX osa_hook_live_current ON @extschema@.osa_hook_live (hook) WHERE is_current;
SELECT pg_catalog.pg_extension_config_dump('@extschema@.osa_hook_live', '');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.osa_hook_live_id_seq', '');
COMMENT ON TABLE @extschema@.osa_hook_live IS 'Which release of a hook is live, and its history: the row with is_current is the pointer.';
COMMENT ON COLUMN @extschema@.osa_hook_live.id IS 'Id.';
COMMENT ON COLUMN @extschema@.osa_hook_live.hook IS 'Hook.';
COMMENT ON COLUMN @extschema@.osa_hook_live.release_id IS 'The release that became live.';
COMMENT ON COLUMN @extschema@.osa_hook_live.previous_id IS 'The history row to return to by osa_rollback_release.';
COMMENT ON COLUMN @extschema@.osa_hook_live.is_current IS 'True for the live one.';
COMMENT ON COLUMN @extschema@.osa_hook_live.set_by IS 'Role that set it.';
COMMENT ON COLUMN @extschema@.osa_hook_live.set_at IS 'When.';

CREATE TABLE @extschema@.osa_pipeline (
    name text PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9_]{0,39}$'),
    hooks text[] NOT NULL,
    on_rejection text NOT NULL DEFAULT 'drop' CHECK (on_rejection IN ('drop', 'reject_run')),
    on_record_error text NOT NULL DEFAULT 'fail_run' CHECK (on_record_error IN ('fail_run', 'drop')),
    runner text NOT NULL DEFAULT 'local',
    changed_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
SELECT pg_catalog.pg_extension_config_dump('@extschema@.osa_pipeline', '');
COMMENT ON TABLE @extschema@.osa_pipeline IS 'Hooks in order. Runs keep the definition they started with.';
COMMENT ON COLUMN @extschema@.osa_pipeline.name IS 'Name.';
COMMENT ON COLUMN @extschema@.osa_pipeline.hooks IS 'Hooks in order, each once.';
COMMENT ON COLUMN @extschema@.osa_pipeline.on_rejection IS 'drop: a rejected record goes to no later hook. reject_run: one rejected record ends the run.';
COMMENT ON COLUMN @extschema@.osa_pipeline.on_record_error IS 'fail_run: an errored record fails the run. drop: it goes to no later hook.';
COMMENT ON COLUMN @extschema@.osa_pipeline.runner IS 'Runner of its hooks.';
COMMENT ON COLUMN @extschema@.osa_pipeline.changed_at IS 'When it was last defined.';
